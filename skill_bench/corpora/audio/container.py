"""Which container a file is, how far its samples reach in it, and the file as libsndfile should see it."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

from skill_bench.corpora.audio import chunked, framed
from skill_bench.corpora.audio.extent import Extent

_TAIL_BYTES = 4096  # libsndfile looks for tags at the end


def extent_of(path: Path) -> Extent:
    """What a file's container says; a container that is not known here says nothing.

    Raises:
        OSError: the file cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(64)
        read = chunked.reader(head) or framed.reader(head)
        try:
            return Extent() if read is None else read(file, size)
        except struct.error:  # the header itself ends too early; libsndfile says so
            return Extent()


class View(io.RawIOBase):
    """A file, read only, some bytes of its header replaced or its length overstated; see `Extent`.

    Of an overstated length, the last part reads as zeros; between it and the file's own end there is nothing.
    """

    def __init__(self, path: Path, extent: Extent) -> None:
        self._file = path.open("rb")
        self._size = path.stat().st_size * extent.stretch
        self._stretched = extent.stretch > 1
        self._patch = extent.patch
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._file.seek(self._at)
        found = self._file.readinto(buffer)
        if found == 0 and self._stretched and self._at >= self._size - _TAIL_BYTES:
            found = min(len(buffer), self._size - self._at)
            buffer[:found] = bytes(found)
        if self._patch is not None:
            place, content = self._patch
            first, last = max(place, self._at), min(place + len(content), self._at + found)
            if first < last:
                buffer[first - self._at : last - self._at] = content[first - place : last - place]
        self._at += found
        return found

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def close(self) -> None:
        self._file.close()
        super().close()
