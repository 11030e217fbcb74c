"""What every other room stands on: errors, specifications, documents, provenance, locks. Loads no torch."""

__version__ = "0.1.0"
