"""One file of the cache: the features of several utterances, each found and checked by itself.

A shard is a safetensors file with one tensor an entry, named by the entry's key; its metadata hold what the audio was
before conversion and a checksum over key, form and numbers. It is written once and never changed, so that other
processes may map it into memory while it exists, and go on reading after it is removed.
"""

from __future__ import annotations

import json
import math
import mmap
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors.numpy import save

from skill_bench.base.documents import write_atomic

SUFFIX = ".safetensors"
_ENTRIES = "entries"
_DTYPES = {"F16": "float16", "F32": "float32"}
_ITEM_BYTES = {"float16": 2, "float32": 4}
_MAX_HEADER_BYTES = 100 * 2**20


class DamagedShard(Exception):
    """A file that is not what was written; the cache removes it and extracts its utterances again."""


class Place(NamedTuple):
    """Where an entry's numbers lie, in what form, and what the audio was before conversion."""

    shard: Path
    offset: int
    shape: tuple[int, ...]
    dtype: str
    original_rate_hz: int
    original_channels: int
    checksum: int

    @property
    def n_bytes(self) -> int:
        """Of the numbers."""
        return math.prod(self.shape) * _ITEM_BYTES[self.dtype]


@dataclass(frozen=True, kw_only=True)
class Content:
    """One entry to be written."""

    numbers: np.ndarray[Any, Any]
    original_rate_hz: int
    original_channels: int


def write_shard(path: Path, contents: Mapping[str, Content]) -> None:
    """Writes a shard in one step.

    Raises:
        OSError: it cannot be written.
        ValueError: numbers of another type than float16 and float32.
    """
    if wrong := {str(c.numbers.dtype) for c in contents.values()} - set(_DTYPES.values()):
        raise ValueError(f"features of type {sorted(wrong)}, expected {sorted(_DTYPES.values())}")
    entries = {
        key: [
            content.original_rate_hz,
            content.original_channels,
            _checksum(
                key,
                content.numbers.shape,
                str(content.numbers.dtype),
                (content.original_rate_hz, content.original_channels),
                content.numbers.data.cast("B"),
            ),
        ]
        for key, content in contents.items()
    }
    tensors = {key: content.numbers for key, content in contents.items()}
    write_atomic(path, save(tensors, metadata={_ENTRIES: json.dumps(entries)}))


def read_index(path: Path) -> dict[str, Place]:
    """The entries of a shard by key; their numbers are not read.

    Raises:
        DamagedShard: the header cannot be read, or does not fit the file's size.
        OSError: the file cannot be opened.
    """
    with path.open("rb") as file:
        header_bytes = int.from_bytes(file.read(8), "little")
        if not 0 < header_bytes <= _MAX_HEADER_BYTES:
            raise DamagedShard(f"{path}: a header of {header_bytes} bytes")
        text = file.read(header_bytes)
        size = file.seek(0, 2)
    try:
        header = json.loads(text)
        entries = json.loads(header.pop("__metadata__")[_ENTRIES])
        found = {key: _place(path, header[key], entries[key], start=8 + header_bytes) for key in header}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedShard(f"{path}: its header cannot be read ({type(error).__name__}: {error})") from None
    end = max((place.offset + place.n_bytes for place in found.values()), default=0)
    if not found or set(found) != set(entries) or end != size:
        raise DamagedShard(f"{path}: {size} bytes, but its header describes {len(found)} entries up to byte {end}")
    return found


def map_shard(path: Path) -> mmap.mmap:
    """The file in memory, read page by page as it is used; changes stay in the process.

    Raises:
        OSError: the file cannot be opened.
    """
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)


def is_intact(key: str, place: Place, mapped: mmap.mmap) -> bool:
    """Whether the entry's numbers, form and key are those that were written."""
    if place.offset + place.n_bytes > len(mapped):
        return False
    with memoryview(mapped) as whole, whole[place.offset : place.offset + place.n_bytes] as data:
        facts = (place.original_rate_hz, place.original_channels)
        return _checksum(key, place.shape, place.dtype, facts, data) == place.checksum


def _place(path: Path, tensor: dict[str, Any], entry: list[int], *, start: int) -> Place:
    begin, end = tensor["data_offsets"]
    rate, channels, checksum = entry
    shape, dtype = tuple(tensor["shape"]), _DTYPES[tensor["dtype"]]
    place = Place(path, start + begin, shape, dtype, rate, channels, checksum)
    if begin < 0 or min(shape) < 0 or place.n_bytes != end - begin:
        raise ValueError(f"shape {shape} in bytes {begin} to {end}")
    return place


def _checksum(key: str, shape: tuple[int, ...], dtype: str, facts: tuple[int, int], data: memoryview) -> int:
    return zlib.crc32(data, zlib.crc32(f"{key} {shape} {dtype} {facts}".encode()))
