"""Paths on the command line: what is to be written can be, and what is to be read is there, before any work.

These are callbacks and parsers of options; nothing is made or changed while checking.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TypeVar

import typer

from skill_bench.base.archive import is_there
from skill_bench.base.errors import UsageError, suggest

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
    if path is not None and _exists(path) and not path.is_dir():
        raise UsageError(f"{param.opts[0]} {path}: is {_kind(path)}, expected a folder. Choose another one.")
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
    if _exists(path) and not path.is_file():
        raise UsageError(f"{option} {path}: is {_kind(path)}, expected a file. Choose another one.")
    _require_writable(path, path.parent, option)


def require_folder(path: Path, *, option: str) -> None:
    """Checks a folder for files that will be written. As `folder_to_write`."""
    if _exists(path) and not path.is_dir():
        raise UsageError(f"{option} {path}: is {_kind(path)}, expected a folder. Choose another one.")
    _require_writable(path, path, option)


def weights(text: str) -> Path:
    """Parser of an option that names weights: a file or folder, or an upstream that comes with skill-bench.

    Raises:
        UsageError: there is no such thing, the upstream has no weights, or the name is a path as well.
    """
    from skill_bench.base import catalog
    from skill_bench.upstream.spec import read_spec

    path, known = Path(text), catalog.names("upstreams")
    named = catalog.entry("upstreams", text) if text in known else None
    if named is not None and _exists(path) and not path.samefile(named):
        raise UsageError(
            f"{text!r} is {_kind(path)} here, and an upstream that comes with skill-bench. Write ./{text} for the "
            f"former, {named} for the latter."
        )
    folder = named or path
    if not (folder / "upstream.toml").is_file():
        if not _exists(path):
            near = suggest(text, known) if os.sep not in text else ""
            raise UsageError(f"{text}: no such checkpoint. Check the path. {near}Bundled: {', '.join(known)}.")
        return path
    spec = read_spec(folder.resolve())
    if spec.weights is None:
        raise UsageError(f"{text}: upstream {spec.name!r} ({spec.kind}) has no weights. Name another one, or a file.")
    return folder / spec.weights


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


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that no file can have
        return False


def _kind(path: Path) -> str:
    return "a folder" if path.is_dir() else "a file" if path.is_file() else "neither a file nor a folder"
