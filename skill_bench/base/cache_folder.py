"""Where features and synthesised speech are kept unless somebody says otherwise."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder(given: Path | None = None) -> Path:
    """``given``, else $XDG_CACHE_HOME/skill-bench, else ~/.cache/skill-bench."""
    if given is not None:
        return given
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "skill-bench"
