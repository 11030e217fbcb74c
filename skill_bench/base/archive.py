"""Folders whose files may lie in zip archives: found and read as though the archives were unpacked.

A place is a folder or an archive ``NAME.zip``; archives that lie in a folder are part of it. A file inside an archive
is named as though the archive were a folder: ``records/local.zip/local/skill/ks-s0.json``. Nothing is unpacked to disk.
"""

from __future__ import annotations

import errno
import functools
import io
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from skill_bench.base.errors import RecordError

SUFFIX = ".zip"
LARGEST_FILE_BYTES = 2**28
LARGEST_ARCHIVE_BYTES = 2**34
"""Of all files together, unpacked."""
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_NO_NAMES = ("", ".", "..")
_UNREADABLE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, RuntimeError, ValueError)
"""What zipfile raises for damaged archives."""


def is_place(path: Path) -> bool:
    """Whether ``path`` is a folder or, by its name, an archive."""
    return path.is_dir() or is_archive(path)


def is_archive(path: Path) -> bool:
    """Whether ``path`` is a file that is named as an archive."""
    return path.suffix == SUFFIX and path.is_file()


def files(place: Path, *, depth: int | None = None) -> dict[str, Path]:
    """Relative name -> path of every file, sorted; with ``depth``, of those so many names deep.

    A folder's own file stands for one of the same name in its archives, and an archive's for that of a later archive.

    Raises:
        RecordError: an archive cannot be trusted.
    """
    if not place.is_dir():
        names = _opened(place).names
        return {name: place / name for name in sorted(names) if depth in (None, name.count("/") + 1)}
    found: dict[str, Path] = {}
    for archive in reversed(_archives(place)):
        found |= files(archive, depth=depth)
    own = place.rglob("*") if depth is None else place.glob("/".join("*" * depth))
    found |= {path.relative_to(place).as_posix(): path for path in own if path.is_file()}
    return dict(sorted(found.items(), key=lambda item: PurePosixPath(item[0])))


def find(place: Path, name: str | Path) -> Path | None:
    """The file that ``files`` has under ``name``, or None.

    Raises:
        RecordError: an archive cannot be trusted.
    """
    if (place / name).is_file():
        return place / name
    archives = _archives(place) if place.is_dir() else [place] if is_archive(place) else []
    wanted = Path(name).as_posix()
    return next((archive / wanted for archive in archives if wanted in _opened(archive).names), None)


def inside(path: Path) -> tuple[Path, str] | None:
    """The archive that ``path`` leads into, and the name in it; None for a file of its own."""
    archive = next((parent for parent in path.parents if is_archive(parent)), None)
    return None if archive is None else (archive, path.relative_to(archive).as_posix())


def is_there(path: Path) -> bool:
    """Whether there is something at ``path``, in an archive or not.

    Raises:
        RecordError: its archive cannot be trusted.
    """
    try:
        found = None if path.exists() else inside(path)
        return path.exists() or (found is not None and found[1] in _opened(found[0]).names)
    except (OSError, ValueError):  # a name that no file can have, or that nobody may ask for
        return False


def read_bytes(path: Path) -> bytes:
    """The contents of a file, in an archive or not.

    Raises:
        OSError: there is none.
        RecordError: its archive cannot be trusted.
    """
    found = inside(path)
    return path.read_bytes() if found is None else _opened(found[0]).read(found[1])


def packed(contents: Mapping[str, bytes]) -> bytes:
    """An archive of files by relative name; the same contents give the same bytes, whatever their order and age."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as writer:
        for name in sorted(contents):
            entry = zipfile.ZipInfo(name)  # of 1980, the first year that the format knows
            entry.create_system, entry.external_attr = 3, (stat.S_IFREG | 0o644) << 16  # else the system's own
            writer.writestr(entry, contents[name], zipfile.ZIP_DEFLATED, compresslevel=9)
    return buffer.getvalue()


class _Archive:
    """An archive in memory: another program may replace its file meanwhile, and a forked process read it too."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(path.read_bytes()))
        except _UNREADABLE as error:
            raise self._damaged(f"not a zip archive that can be read ({error})") from error
        entries = [entry for entry in self._zip.infolist() if not entry.filename.endswith("/")]
        for problem in filter(None, map(_problem, entries)):
            raise self._damaged(problem)
        self.names = {entry.filename for entry in entries}
        if len(self.names) < len(entries):
            raise self._damaged("holds several files of one name")
        if (total := sum(entry.file_size for entry in entries)) > LARGEST_ARCHIVE_BYTES:
            raise self._damaged(f"says that it unpacks to {total} bytes, at most {LARGEST_ARCHIVE_BYTES} are read")

    def read(self, name: str) -> bytes:
        if name not in self.names:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self.path / name))
        try:
            return self._zip.read(name)
        except _UNREADABLE as error:
            raise self._damaged(f"{name} cannot be read ({error})") from error

    def _damaged(self, problem: str) -> RecordError:
        return RecordError(
            f"{self.path}: {problem}. Restore it from a backup or version control, or pack the folder again with "
            "skill-bench results pack."
        )


def _problem(entry: zipfile.ZipInfo) -> str | None:
    """Why a file in an archive is refused; names must not lead out of it, whoever unpacks it and where."""
    name = entry.filename
    if any(part in _NO_NAMES for part in name.split("/")) or any(c in name for c in "\\:\0"):
        return f"{name!r} is not a name inside an archive: it may lead elsewhere"
    if stat.S_ISLNK(entry.external_attr >> 16):
        return f"{name!r} is a link, expected a file"
    if entry.flag_bits & 1:
        return f"{name!r} is encrypted, expected a file that can be read"
    if entry.compress_type not in _METHODS:
        return f"{name!r} is compressed by method {entry.compress_type}, expected one of {_METHODS} (stored, deflate)"
    if entry.file_size > LARGEST_FILE_BYTES:
        return f"{name!r} unpacks to {entry.file_size} bytes, at most {LARGEST_FILE_BYTES} are read"
    return None


def _archives(folder: Path) -> list[Path]:
    return sorted(filter(is_archive, folder.glob(f"*{SUFFIX}")))


def _opened(path: Path) -> _Archive:
    found = path.stat()
    return _open(path, (found.st_ino, found.st_size, found.st_mtime_ns))


@functools.lru_cache(maxsize=4)
def _open(path: Path, _version: Iterable[int]) -> _Archive:
    """Directories of archives are read once a version, not once a file."""
    return _Archive(path)
