"""Upstreams: frozen models behind one interface, from folders, checkpoints and the Hugging Face hub."""
