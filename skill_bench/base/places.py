"""What is at a path, for messages: names that no file can have are of nothing."""

from __future__ import annotations

from pathlib import Path


def exists(path: Path) -> bool:
    """Whether anything is there."""
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that no file can have
        return False


def kind_of(path: Path) -> str:
    """``a folder``, ``a file``, or neither."""
    return "a folder" if path.is_dir() else "a file" if path.is_file() else "neither a file nor a folder"
