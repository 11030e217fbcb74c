"""Features on disk: shards of many utterances, written atomically, mapped into memory, checked when read.

Layout: ``<root>/<identity, 16 hex>/<policy>/<random name>.safetensors`` beside ``in_use``, on which every process that
uses the folder holds a shared lock. Processes share a folder freely: each writes shards of its own, `refresh` finds
those of the others, and `claim` keeps two from working on the same utterances. Deleting a folder deletes one model's
or one policy's features.
"""

from __future__ import annotations

import errno
import mmap
import os
import uuid
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from skill_bench.base import locks
from skill_bench.base.errors import SkillBenchError
from skill_bench.features.shard import (
    SUFFIX,
    Content,
    DamagedShard,
    Place,
    is_intact,
    map_shard,
    read_index,
    write_shard,
)
from skill_bench.features.stored import IN_USE, About, folder_of

_READ_ONLY = {errno.EACCES, errno.EPERM, errno.EROFS}
_MAPPED_BYTES = 2**29
"""Shards that stay mapped for the next read: bounds memory whatever the corpus."""
_DTYPES = {"float16": torch.float16, "float32": torch.float32}


@dataclass(frozen=True, kw_only=True)
class KeptFeatures:
    """One utterance's features and what its audio file was before conversion."""

    features: Tensor
    original_rate_hz: int
    original_channels: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the features."""
        return tuple(self.features.shape)


class FeatureCache:
    """The entries of one model under one policy.

    Args:
        root: Folder of all caches.
        identity: The model's identity (`Upstream.identity`).
        policy: What was extracted and how, as a folder name.
        upstream: The model's name, for whoever lists the folder.

    Attributes:
        is_writable: False for a folder that this user may only read, for instance a complete one that others share.

    Raises:
        SkillBenchError: the folder cannot be made.
    """

    def __init__(self, *, root: Path, identity: str, policy: str, upstream: str = "") -> None:
        if not identity:
            raise ValueError("an upstream without identity cannot be cached")
        self.root = root
        self.folder = folder_of(identity, root=root) / policy
        self.is_writable = True
        try:
            self._lock = _use(self.folder)
            About(upstream=upstream, identity=identity, policy=policy).write(self.folder)
        except OSError as error:
            if error.errno not in _READ_ONLY or not os.access(self.folder, os.R_OK | os.X_OK):
                raise _cannot_store(self.folder, error) from error
            self.is_writable = False  # nobody else removes shards from it either
        self._places: dict[str, Place] = {}
        self._known: set[str] = set()
        self._mapped: OrderedDict[Path, mmap.mmap] = OrderedDict()
        self._checked: set[str] = set()
        self.refresh()

    def __contains__(self, key: str) -> bool:
        return key in self._places

    def place(self, key: str) -> Place:
        """Form and facts of an entry that is in the cache; its numbers are not read."""
        return self._places[key]

    def refresh(self) -> None:
        """Takes in what other processes have written or removed; a shard with a damaged header is removed."""
        # Names alone: a GPU writes thousands of shards within minutes, and looks at the folder for each.
        names = os.listdir(self.folder) if self.folder.exists() else []
        present = {name for name in names if name.endswith(SUFFIX)}
        if self._known - present:
            self._places = {key: place for key, place in self._places.items() if place.shard.name in present}
        for name in present - self._known:
            path = self.folder / name
            try:
                self._places.update(read_index(path))
            except DamagedShard:
                self._remove(path)
                present.discard(name)
            except OSError:
                present.discard(name)  # removed meanwhile
        self._known = present

    def read(self, key: str) -> KeptFeatures | None:
        """The entry, a view into the mapped file; None if it is absent or its shard damaged, which is then removed."""
        place = self._places.get(key)
        if place is None:
            return None
        try:
            mapped = self._map(place.shard)
            intact = key in self._checked or is_intact(key, place, mapped)
        except (OSError, ValueError):  # ValueError: an empty file cannot be mapped
            intact = False
        if not intact:
            self._forget(place.shard)
            return None
        self._checked.add(key)
        dtype = _DTYPES[place.dtype]
        flat = torch.frombuffer(mapped, dtype=dtype, count=place.n_bytes // dtype.itemsize, offset=place.offset)
        return KeptFeatures(
            features=flat.view(place.shape),
            original_rate_hz=place.original_rate_hz,
            original_channels=place.original_channels,
        )

    def write(self, entries: Mapping[str, KeptFeatures]) -> None:
        """Stores entries as one shard; a reader sees the whole file or none.

        Raises:
            SkillBenchError: the file cannot be written (disk full, no permission).
        """
        path = self.folder / f"{uuid.uuid4().hex}{SUFFIX}"
        try:
            write_shard(path, {key: _content(entry) for key, entry in entries.items()})
        except OSError as error:
            raise _cannot_store(path, error) from error
        self.refresh()

    @contextmanager
    def claim(self, name: str, *, wait: bool = False) -> Iterator[bool]:
        """Whether this process, and no other, may work on ``name`` now: `skill_bench.base.locks.claim`."""
        if not self.is_writable:
            yield True
            return
        with locks.claim(self.folder / f"{name}.claim", wait=wait) as mine:
            yield mine

    def _map(self, path: Path) -> mmap.mmap:
        if path not in self._mapped:
            self._mapped[path] = map_shard(path)
        self._mapped.move_to_end(path)
        while len(self._mapped) > 1 and sum(len(mapped) for mapped in self._mapped.values()) > _MAPPED_BYTES:
            self._mapped.popitem(last=False)
        return self._mapped[path]

    def _remove(self, path: Path) -> None:
        if self.is_writable:
            path.unlink(missing_ok=True)

    def _forget(self, path: Path) -> None:
        self._remove(path)
        self._mapped.pop(path, None)
        self._known.discard(path.name)
        lost = {key for key, place in self._places.items() if place.shard == path}
        self._checked -= lost
        for key in lost:
            del self._places[key]


def _use(folder: Path) -> locks.Lock:
    while True:
        lock = locks.Lock(folder / IN_USE)
        lock.share()
        if lock.path.exists():  # else the folder was deleted while this process waited
            return lock


def _content(entry: KeptFeatures) -> Content:
    return Content(
        numbers=entry.features.detach().cpu().contiguous().numpy(),
        original_rate_hz=entry.original_rate_hz,
        original_channels=entry.original_channels,
    )


def _cannot_store(path: Path, error: OSError) -> SkillBenchError:
    return SkillBenchError(
        f"{path}: features cannot be stored ({error.strerror or error}). "
        "Free disk space, or choose another cache folder."
    )
