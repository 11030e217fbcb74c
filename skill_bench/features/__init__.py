"""Frozen upstreams, and their features: extracted once an utterance, cached on disk."""
