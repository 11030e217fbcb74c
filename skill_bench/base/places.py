"""What Python is given as paths and names; what is at a path, for messages.

And where what is cached lies unless somebody says otherwise.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from skill_bench.base.errors import UsageError

Paths: TypeAlias = str | Path | Sequence[str | Path]
"""One path or several."""


def each(given: Paths) -> list[Path]:
    """The paths of what Python is given."""
    return [Path(one) for one in ([given] if isinstance(given, str | Path) else given)]


Names: TypeAlias = str | Sequence[str]
"""One name or several; a string is no list of letters."""


def names(given: Names) -> list[str]:
    """The names of what Python is given."""
    return [given] if isinstance(given, str) else list(given)


def exists(path: Path) -> bool:
    """Whether anything is there."""
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that no file can have
        return False


def kind_of(path: Path) -> str:
    """``a folder``, ``a file``, or neither."""
    return "a folder" if path.is_dir() else "a file" if path.is_file() else "neither a file nor a folder"


def cache_folder(given: Path | None = None) -> Path:
    """``given``, else $XDG_CACHE_HOME/skill-bench, else ~/.cache/skill-bench.

    Raises:
        UsageError: nothing is given, and nobody says where home is.
    """
    if given is not None:
        return given
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(base) if base else Path.home() / ".cache") / "skill-bench"
    except RuntimeError as error:  # neither $HOME nor an entry for this user
        raise UsageError(
            "no folder for the cache: this user has no home. Give one with --cache-dir, or set XDG_CACHE_HOME."
        ) from error
