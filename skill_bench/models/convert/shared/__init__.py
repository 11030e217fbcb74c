"""What several readers of foreign checkpoints have in common."""
