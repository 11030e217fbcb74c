"""The guard: has a change made a model worse? A small rerun against a stored baseline."""
