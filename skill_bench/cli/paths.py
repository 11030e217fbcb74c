"""Paths on the command line: what is to be written can be, and what is to be read is there, before any work.

These are callbacks and parsers of options; nothing is made or changed while checking.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TypeVar

import typer

from skill_bench.base.archive import is_there
from skill_bench.base.errors import UsageError
from skill_bench.base.places import exists, kind_of

Given = TypeVar("Given", Path, Path | None, list[Path], list[Path] | None)


def file_to_write(param: typer.CallbackParam, path: Path | None) -> Path | None:
    """Callback of an option that names a file to write.

    Raises:
        UsageError: something other than a file is there, or its folder cannot be made or written to.
    """
    if path is not None:
        require_file(path, option=param.opts[0])
    return path


def folder_to_write(param: typer.CallbackParam, path: Path | None) -> Path | None:
    """Callback of an option that names a folder for files.

    Raises:
        UsageError: something other than a folder is there, or it cannot be made or written to.
    """
    if path is not None:
        require_folder(path, option=param.opts[0])
    return path


def folder_if_there(param: typer.CallbackParam, path: Path | None) -> Path | None:
    """Callback of an option that names a folder which another user may have filled: not to be written to, perhaps.

    Raises:
        UsageError: something other than a folder is there.
    """
    if path is not None and exists(path) and not path.is_dir():
        raise UsageError(f"{param.opts[0]} {path}: is {kind_of(path)}, expected a folder. Choose another one.")
    return path


def there(param: typer.CallbackParam, given: Given) -> Given:
    """Callback of what is to be read: one path or several, in archives too.

    Raises:
        UsageError: one is not there.
    """
    for path in given if isinstance(given, list) else [given]:
        if path is not None and not is_there(path):
            where = f"{param.opts[0]} {path}" if param.opts[0].startswith("-") else str(path)
            raise UsageError(f"{where}: no such file or folder. Check the path.")
    return given


def require_file(path: Path, *, option: str) -> None:
    """Checks a file that will be written. As `file_to_write`."""
    if exists(path) and not path.is_file():
        raise UsageError(f"{option} {path}: is {kind_of(path)}, expected a file. Choose another one.")
    _require_writable(path, path.parent, option)


def require_folder(path: Path, *, option: str) -> None:
    """Checks a folder for files that will be written. As `folder_to_write`."""
    if exists(path) and not path.is_dir():
        raise UsageError(f"{option} {path}: is {kind_of(path)}, expected a folder. Choose another one.")
    _require_writable(path, path, option)


def _require_writable(path: Path, folder: Path, option: str) -> None:
    """The nearest folder that exists is asked, by a file without a name: permissions alone do not tell."""
    nearest = folder
    try:
        while not nearest.exists() and nearest != nearest.parent:
            nearest = nearest.parent
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except (OSError, ValueError):
        raise UsageError(
            f"{option} {path}: {nearest} is no folder that can be written to. Choose another one."
        ) from None
