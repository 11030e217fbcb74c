"""Hashes of files' contents, remembered while nothing about a file has changed, so that asking again costs nothing.

What is remembered is a memo: a damaged one is made anew, and where none can be kept every file is read.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sqlite3
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

_FILE = "content-hashes-2.sqlite"
_CREATE = (
    "CREATE TABLE IF NOT EXISTS files (path TEXT PRIMARY KEY, size INTEGER, mtime_ns INTEGER, ctime_ns INTEGER, "
    "inode INTEGER, sha256 TEXT)"
)
_log = logging.getLogger(__name__)

State = tuple[str, int, int, int, int]
"""Path, size, times of change of content and of anything (which no program can set), inode."""


def content_hashes(paths: Iterable[Path], *, cache_dir: Path) -> dict[Path, str]:
    """sha256 of each file's bytes; files that have not changed since the last call are not read again.

    Raises:
        OSError: a file cannot be read.
    """
    wanted = {path: _state(path) for path in dict.fromkeys(paths)}
    known = _recall(cache_dir / _FILE, wanted)
    missing = [path for path in wanted if path not in known]
    with ThreadPoolExecutor(min(8, (os.cpu_count() or 1) * 2)) as pool:
        found = dict(zip(missing, pool.map(_hash, missing), strict=True))
    # A file that was written to while it was read is asked again the next time.
    _remember(
        cache_dir / _FILE, {wanted[path]: sha256 for path, sha256 in found.items() if _state(path) == wanted[path]}
    )
    return {path: known.get(path) or found[path] for path in wanted}


def _state(path: Path) -> State:
    stat = path.stat()
    return str(path.resolve()), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino


def _recall(file: Path, wanted: Mapping[Path, State]) -> dict[Path, str]:
    if not file.exists():
        return {}
    query = "SELECT sha256 FROM files WHERE (path, size, mtime_ns, ctime_ns, inode) = (?, ?, ?, ?, ?)"
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True, timeout=60)) as database:
            rows = {path: database.execute(query, state).fetchone() for path, state in wanted.items()}
    except sqlite3.Error as error:
        _log.warning("%s: cannot be read (%s), so every file is read again", file, error)
        return {}
    return {path: row[0] for path, row in rows.items() if row is not None and isinstance(row[0], str)}


def _remember(file: Path, found: Mapping[State, str]) -> None:
    if not found:
        return
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            _insert(file, found)
        except sqlite3.OperationalError:  # full, locked or not writable: not damaged
            raise
        except sqlite3.DatabaseError:
            file.unlink(missing_ok=True)
            _insert(file, found)
    except (sqlite3.Error, OSError) as error:
        _log.warning("%s: nothing can be kept there (%s), so files are read again the next time", file, error)


def _insert(file: Path, found: Mapping[State, str]) -> None:
    with closing(sqlite3.connect(file, timeout=60)) as database, database:
        database.execute(_CREATE)
        database.executemany(
            "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?)",
            [(*state, sha256) for state, sha256 in found.items()],
        )


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
