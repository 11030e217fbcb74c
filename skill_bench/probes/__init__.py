"""Heads on frozen features, trained for a whole grid of learning rates at once."""
