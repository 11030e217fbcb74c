"""The suites of test data, by name."""

from __future__ import annotations

SUITES = {
    "demo": "synthesised speech, made on first use; needs no data",
    "local": "recordings of your own: --data-root FOLDER with manifests and a suite.toml",
    "superb": "the official corpora: --data-root FOLDER; `skill-bench doctor` says what goes into it",
    "mini": "a fixed part of the official corpora, trained as a local suite",
}
"""Every suite that can be run, with what it is."""
DEFAULT_SUITE = "demo"
"""The one that needs nothing."""
OFFICIAL_SUITES = ("superb", "mini")
"""Read from the official corpora's own layouts."""
SETTINGS_OF = {"mini": "local"}
"""Suites that are trained with another one's settings where a task has none for them."""
