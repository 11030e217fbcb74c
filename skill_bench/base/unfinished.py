"""What is written under a temporary name and then renamed: made here, and removed where its writer was killed.

The name is ``.NAME.XXXXXXXX.tmp``, beside the place of NAME.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from skill_bench.base.markers import is_marker

_SUFFIX = ".tmp"
_NAME = re.compile(r"\..+\.[a-z0-9_]{8}\.tmp", re.DOTALL)
_DEAD_AFTER_SECONDS = 3600.0
"""Whoever changes nothing of what it writes for longer than this has died."""


def unfinished_file(place: Path) -> tuple[int, Path]:
    """A new file, open for writing, for what is to become ``place``, whose folder is there."""
    descriptor, name = tempfile.mkstemp(dir=place.parent, prefix=_prefix(place), suffix=_SUFFIX)
    path = Path(name)
    path.chmod(0o666 & ~_umask())
    return descriptor, path


def unfinished_folder(place: Path) -> Path:
    """A new folder for what is to become ``place``, whose folder is there."""
    path = Path(tempfile.mkdtemp(dir=place.parent, prefix=_prefix(place), suffix=_SUFFIX))
    path.chmod(0o777 & ~_umask())
    return path


def remove_leftovers(folder: Path, *, below: bool = True) -> int:
    """Deletes what died with its writer an hour ago or more in ``folder``, and ``below`` it; returns how many things.

    That is unfinished files and folders, and markers of locks. What cannot be deleted stays.
    """
    found = 0
    for path in list(_leftovers(folder, below=below)):
        with suppress(OSError):  # finished meanwhile, or somebody else's
            if time.time() - _last_change(path) > _DEAD_AFTER_SECONDS:
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink()
                found += 1
    return found


def _leftovers(folder: Path, *, below: bool) -> Iterator[Path]:
    for name, folders, files in os.walk(folder):
        here, there = Path(name), set(files)
        yield from (here / one for one in folders if _NAME.fullmatch(one))
        yield from (here / one for one in files if _NAME.fullmatch(one) or is_marker(one, beside=there))
        folders[:] = [one for one in folders if below and not _NAME.fullmatch(one)]


def _last_change(path: Path) -> float:
    """Of the path and of everything in it."""
    return max(one.lstat().st_mtime for one in (path, *path.rglob("*")))


def _prefix(place: Path) -> str:
    return f".{place.name}."


def _umask() -> int:
    """Of this process. mkstemp and mkdtemp ignore it: what they make only its owner may read, unless it is changed."""
    current = os.umask(0)
    os.umask(current)
    return current
