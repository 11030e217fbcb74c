"""Folders of audio that are made once in the cache, checked at each use, and made again when a file of them changed."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

from skill_bench.base.errors import DataError
from skill_bench.base.unfinished import unfinished_folder

_CHECKSUMS = "checksums.json"


def rendered_folder(cache_dir: Path, name: str, make: Callable[[Path], None]) -> Path:
    """``cache_dir/name``, filled by ``make`` if it is missing or damaged.

    ``name`` must hold a hash of everything that ``make`` depends on. ``make`` fills a temporary folder that is renamed
    when it is whole, so nobody sees half of it.

    Raises:
        DataError: what was made does not pass its own check, or what is there belongs to somebody else who keeps it
            closed.
    """
    folder = cache_dir / name
    if not _intact(folder):
        cache_dir.mkdir(parents=True, exist_ok=True)
        made = unfinished_folder(folder)
        try:
            make(made)
            (made / _CHECKSUMS).write_text(json.dumps(checksums(made), indent=0), encoding="utf-8")
            _install(made, folder)
        finally:
            shutil.rmtree(made, ignore_errors=True)
        if not _intact(folder):
            raise DataError(f"{folder} is damaged right after it was written. Check the disk.")
    return folder


def checksums(folder: Path) -> dict[str, str]:
    """sha256 of every file, by its path in the folder."""
    found = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != _CHECKSUMS)
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def _intact(folder: Path) -> bool:
    try:
        recorded = json.loads((folder / _CHECKSUMS).read_text(encoding="utf-8"))
    except PermissionError as error:
        raise DataError(
            f"{folder} is there, but this user may not read it ({error.strerror}). Ask its owner to open it "
            "(chmod -R a+rX), or choose another cache folder with --cache-dir."
        ) from error
    except (OSError, ValueError):
        return False
    return bool(recorded == checksums(folder))


def _install(made: Path, folder: Path) -> None:
    if folder.exists():
        if _intact(folder):  # another process was faster
            return
        damaged = unfinished_folder(folder)
        folder.rename(damaged / "damaged")
        shutil.rmtree(damaged, ignore_errors=True)
    try:
        made.rename(folder)
    except OSError:
        if not _intact(folder):
            raise
