"""Which container a file is, and how far its samples reach in it."""

from __future__ import annotations

import struct
from pathlib import Path

from skill_bench.corpora.audio import chunked, framed
from skill_bench.corpora.audio.extent import Extent


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
