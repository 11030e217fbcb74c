"""All caches below one folder, as the ``cache`` command and the size limit see them. Loads no torch."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from skill_bench.base import locks
from skill_bench.base.documents import write_atomic
from skill_bench.base.hashed import digest
from skill_bench.features.shard import SUFFIX, DamagedShard, is_intact, map_shard, read_index

IN_USE = "in_use"
SPARE_BYTES = 2**30
"""Of a disk that features never fill: records and other people need some."""
_ABOUT = "about.json"


@dataclass(frozen=True, kw_only=True)
class About:
    """Whose features a folder holds: only for those who list it; the folder's name is what counts."""

    upstream: str
    identity: str
    policy: str

    def write(self, folder: Path) -> None:
        """Leaves the file, unless it is there."""
        if not (folder / _ABOUT).exists():
            write_atomic(folder / _ABOUT, json.dumps(asdict(self), indent=1).encode())


@dataclass(frozen=True, kw_only=True)
class StoredCache:
    """One model's features under one policy.

    Attributes:
        folder: Where they are.
        upstream: The model's name when the folder was made; ``?`` if unknown.
        policy: What was extracted.
        n_bytes: Their size.
        last_used: Seconds since the epoch.
    """

    folder: Path
    upstream: str
    policy: str
    n_bytes: int
    last_used: float


def root_in(cache_dir: Path) -> Path:
    """The folder of all caches of features."""
    return cache_dir / "features"


def folder_of(identity: str, *, root: Path) -> Path:
    """The folder of one model's features, whatever the policy."""
    return root / digest(identity)[:16]


def caches(root: Path) -> list[StoredCache]:
    """Every cache below ``root``, the one that was used last first."""
    found = [_describe(marker.parent) for marker in root.glob(f"*/*/{IN_USE}")]
    return sorted(found, key=lambda cache: -cache.last_used)


def total_bytes(root: Path) -> int:
    """Size of all shards below ``root``."""
    return sum(size for _, size in _shards(root, pattern=f"*/*/*{SUFFIX}"))


def verify(root: Path, *, advance: Callable[[int], None]) -> list[Path]:
    """Reads every number below ``root``; removes shards that are damaged and returns their paths.

    Args:
        root: Folder of all caches.
        advance: Called with the bytes of each shard that was read.
    """
    damaged = []
    for path, size in _shards(root, pattern=f"*/*/*{SUFFIX}"):
        try:
            intact = _is_intact(path)
        except FileNotFoundError:
            intact = True  # removed meanwhile
        if not intact:
            path.unlink(missing_ok=True)
            damaged.append(path)
        advance(size)
    return damaged


def remove(cache: StoredCache) -> bool:
    """Deletes a cache, unless a process uses it."""
    lock = locks.Lock(cache.folder / IN_USE)
    try:
        if not lock.take():
            return False
        for path in cache.folder.iterdir():
            if path.name != IN_USE:
                path.unlink(missing_ok=True)
    finally:
        lock.release()
    # The lock file stays until nothing else is there; whoever comes between makes both again.
    (cache.folder / IN_USE).unlink(missing_ok=True)
    for folder in (cache.folder, cache.folder.parent):
        try:
            folder.rmdir()
        except OSError:
            break
    return True


def make_room(root: Path, *, n_bytes: int, limit_bytes: int) -> bool:
    """Whether ``n_bytes`` more fit the limit, after deleting what was used longest ago, but nothing in use."""
    if n_bytes > limit_bytes:
        return False
    excess = total_bytes(root) + n_bytes - limit_bytes
    if excess <= 0:
        return True
    unused = [cache for cache in reversed(caches(root)) if not is_in_use(cache)]
    if sum(cache.n_bytes for cache in unused) < excess:
        return False  # deleting them all would not help
    for cache in unused:
        if excess > 0 and remove(cache):
            excess -= cache.n_bytes
    return excess <= 0


def free_bytes(folder: Path) -> int:
    """What features may take of the disk that holds ``folder``, which need not be there yet."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return max(0, shutil.disk_usage(folder).free - SPARE_BYTES)


def is_in_use(cache: StoredCache) -> bool:
    """Whether a process, this one included, reads or writes the cache now."""
    lock = locks.Lock(cache.folder / IN_USE)
    try:
        return not lock.take()
    finally:
        lock.release()


def _describe(folder: Path) -> StoredCache:
    try:
        upstream = str(json.loads((folder / _ABOUT).read_text(encoding="utf-8"))["upstream"])
    except (OSError, ValueError, KeyError, TypeError):
        upstream = "?"
    try:
        last_used = (folder / IN_USE).stat().st_mtime
    except OSError:
        last_used = 0.0
    return StoredCache(
        folder=folder,
        upstream=upstream or "?",
        policy=folder.name,
        n_bytes=sum(size for _, size in _shards(folder, pattern=f"*{SUFFIX}")),
        last_used=last_used,
    )


def _shards(folder: Path, *, pattern: str) -> Iterator[tuple[Path, int]]:
    for path in folder.glob(pattern):
        try:
            yield path, path.stat().st_size
        except FileNotFoundError:
            continue  # removed meanwhile


def _is_intact(path: Path) -> bool:
    try:
        index = read_index(path)
        with map_shard(path) as mapped:
            return all(is_intact(key, place, mapped) for key, place in index.items())
    except DamagedShard:
        return False
