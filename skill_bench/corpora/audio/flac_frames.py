"""Where the frames of a FLAC stream begin and end, by their headers alone (RFC 9639, section 9)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

LARGEST_FRAME = 1 << 16
"""Bytes that are looked through for the last frame; a frame of 16-bit speech takes a tenth of it at most."""
_LONGEST_HEADER = 16
_SYNC = b"\xff\xf8", b"\xff\xf9"
_BLOCKS = {1: 192} | {code: 144 << code for code in range(2, 6)} | {code: 1 << code for code in range(8, 16)}
_BYTES_OF_RATE = {12: 1, 13: 2, 14: 2}


@dataclass(frozen=True, kw_only=True)
class Frame:
    """Offset in bytes, and the samples that it holds: from ``first`` up to ``end``."""

    at: int
    first: int
    end: int


def last_frame(content: bytes, *, block: int, beyond: int) -> Frame | None:
    """The last frame of what ends with it, if it ends behind sample ``beyond``; None if it does not, or cannot be told.

    Only a frame that would be one too many is read to its checksum.

    Args:
        block: Samples of all frames but the last, as STREAMINFO states them.
    """
    at = len(content)
    while (at := max(content.rfind(sync, 0, at + 1) for sync in _SYNC)) >= 0:
        found = _frame(content, at, block)
        if found is not None and found.end <= beyond:
            return None
        if found is not None and _crc(content[at:], bits=16, polynomial=0x8005) == 0:
            return found
    return None


def frames(content: bytes, *, block: int) -> Iterator[Frame]:
    """All frames from the first on, each beginning with the sample at which the one before ends."""
    at, expected = 0, 0
    while True:
        places = [place for sync in _SYNC if (place := content.find(sync, at)) >= 0]
        if not places:
            return
        found = _frame(content, min(places), block)
        if found is not None and found.first == expected:
            yield found
            expected = found.end
        at = min(places) + 1


def _frame(content: bytes, at: int, block: int) -> Frame | None:
    """The frame whose header begins there; None if none does: a header ends with its own checksum."""
    head = content[at : at + _LONGEST_HEADER]
    if len(head) < 6 or head[3] & 1 or head[3] >> 4 > 10:
        return None
    # As UTF-8: the ones before the first zero say how many bytes there are.
    n_bytes = next((n for n in range(8) if not head[4] & 0x80 >> n), 8)
    if n_bytes in (1, 8):
        return None
    number = head[4] & 0x7F >> n_bytes
    place = 4 + max(n_bytes, 1)
    for byte in head[5:place]:
        number = number << 6 | byte & 0x3F
    code, rate = head[2] >> 4, head[2] & 15
    own = code - 5 if code in (6, 7) else 0
    size = _BLOCKS.get(code) or int.from_bytes(head[place : place + own], "big") + 1
    end = place + own + _BYTES_OF_RATE.get(rate, 0) + 1
    if code == 0 or len(head) < end or _crc(head[:end], bits=8, polynomial=0x07):
        return None
    first = number if head[1] & 1 else number * block
    return Frame(at=at, first=first, end=first + size)


def _crc(content: bytes, *, bits: int, polynomial: int) -> int:
    """0 for content that ends with its checksum."""
    value, top = 0, 1 << bits - 1
    for byte in content:
        value ^= byte << bits - 8
        for _ in range(8):
            value = (value << 1 ^ polynomial if value & top else value << 1) & 2 * top - 1
    return value
