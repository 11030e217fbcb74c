"""Features of frozen upstreams: extracted once an utterance, cached on disk."""
