"""The corpora of SUPERB in their official layouts: what to download, how many utterances there are, how they split."""
