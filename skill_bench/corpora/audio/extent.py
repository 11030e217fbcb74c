"""How far a file's samples reach, by its bytes alone: cut, left open by a writer into a pipe, or stated and all there.

libsndfile shortens most containers to what is there without a word, and believes what it estimates. So the numbers that
a container states are compared with the file's size here, before libsndfile reads it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

MPEG_STRETCH = 64
"""How much longer than it is an MPEG file passes for, so that an estimate from its first frame (at most 320 kbit/s)
covers frames of the lowest rate (8 kbit/s)."""


@dataclass(frozen=True, kw_only=True)
class Extent:
    """What a container says about where its samples end.

    Attributes:
        stated: A number of samples or bytes is stated and agrees with the file. Else the length is what can be decoded.
        cut: Why the file must have been cut; None if nothing tells so.
        unread_bytes: Bytes behind those that the header counts, where nothing says what they are.
        patch: Offset, and bytes to show libsndfile there, because it would misread those of a header left open.
        chained: Several streams follow each other; libsndfile reads the first.
        stretch: By how much longer than it is libsndfile must think the file.
    """

    stated: bool = False
    cut: str | None = None
    unread_bytes: int = 0
    patch: tuple[int, bytes] | None = None
    stretch: int = 1
    chained: bool = False


Reader = Callable[[BinaryIO, int], Extent]
"""From an open file and its size in bytes."""


def is_left_open(n_bytes: int) -> bool:
    """Whether a stated number of bytes is what a writer into a pipe puts where it cannot know.

    0 or all bits (ffmpeg), 0x7FFFF000 less a part of a block (sox), 0x7F000000 (sox, AIFF), 0x80000000 (arecord), 4 GiB
    less a header; of 64 bits, all or all but the sign.
    """
    return (
        n_bytes <= 0
        or 0x7F000000 - 0x1000 <= n_bytes <= 0x7F000000 + 0x1000
        or 0x7FFFE000 <= n_bytes <= 0x80001000
        or 0xFFFFF000 <= n_bytes <= 0xFFFFFFFF
        or n_bytes >= 1 << 62
    )


def left_open(n_bytes: int, *, at: int, form: str) -> Extent:
    """The extent of samples whose number of bytes was left open: what is there, shown where and as it is written."""
    most = (1 << 8 * struct.calcsize(form) - 1) - 1
    return Extent(patch=(at, struct.pack(form, min(n_bytes, most))))


def compared(n_bytes: int, *, available: int, unread: int | None = None) -> Extent:
    """The extent of samples that are said to take so many bytes; ``unread``: those after them, if not all the rest."""
    if n_bytes > available:
        return Extent(cut=f"the header states {n_bytes} bytes of samples, {max(available, 0)} follow")
    return Extent(stated=True, unread_bytes=available - n_bytes if unread is None else unread)
