"""Hashes of files' contents, kept by path, size and time of change, so that asking again costs nothing."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

_FILE = "content-hashes.sqlite"
_CREATE = "CREATE TABLE IF NOT EXISTS files (path TEXT PRIMARY KEY, size INTEGER, mtime_ns INTEGER, sha256 TEXT)"


def content_hashes(paths: Iterable[Path], *, cache_dir: Path) -> dict[Path, str]:
    """sha256 of each file's bytes; files that have not changed since the last call are not read again.

    Raises:
        OSError: a file cannot be read.
    """
    wanted = {path: _state(path) for path in dict.fromkeys(paths)}
    cache_dir.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(cache_dir / _FILE, timeout=60)) as database:
        with database:
            database.execute(_CREATE)
        known = {path: _recall(database, *state) for path, state in wanted.items()}
        missing = [path for path, found in known.items() if found is None]
        with ThreadPoolExecutor(min(8, (os.cpu_count() or 1) * 2)) as pool:
            found = dict(zip(missing, pool.map(_hash, missing), strict=True))
        with database:
            database.executemany(
                "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)",
                [(*wanted[path], sha256) for path, sha256 in found.items()],
            )
    return {path: known[path] or found[path] for path in wanted}


def _state(path: Path) -> tuple[str, int, int]:
    stat = path.stat()
    return str(path.resolve()), stat.st_size, stat.st_mtime_ns


def _recall(database: sqlite3.Connection, path: str, size: int, mtime_ns: int) -> str | None:
    query = "SELECT sha256 FROM files WHERE path = ? AND size = ? AND mtime_ns = ?"
    row = database.execute(query, (path, size, mtime_ns)).fetchone()
    return None if row is None else str(row[0])


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
