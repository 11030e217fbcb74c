"""Corpora described by a manifest and a suite.toml."""
