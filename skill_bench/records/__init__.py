"""What a run leaves: typed JSON documents of scores, costs and the similarity of layers. Loads no torch."""
