"""Streams of frames or pages: FLAC, Ogg (Vorbis, Opus, FLAC, Speex) and MPEG (MP3).

Formats: RFC 9639 (FLAC; frames by their headers alone, section 9), RFC 3533 (Ogg), ISO/IEC 11172-3 with the Xing and
VBRI headers (MPEG).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from skill_bench.corpora.audio.extent import MPEG_STRETCH, Extent, Reader

_TAGS = (b"TAG", b"APETAGEX", b"LYRICSBEGIN", b"ID3")
LARGEST_FRAME = 1 << 16
"""Bytes that are looked through for the last frame; a frame of 16-bit speech takes a tenth of it at most."""
_LONGEST_HEADER = 16
_SYNC = b"\xff\xf8", b"\xff\xf9"
_BLOCKS = {1: 192} | {code: 144 << code for code in range(2, 6)} | {code: 1 << code for code in range(8, 16)}
_BYTES_OF_RATE = {12: 1, 13: 2, 14: 2}


def reader(head: bytes) -> Reader | None:
    """What reads a stream that begins with these bytes; None if it is none of these."""
    if head[:4] == b"OggS":
        return _ogg
    if head[:4] == b"fLaC":
        return _flac
    if head[:3] == b"ID3" or (head[:1] == b"\xff" and len(head) > 1 and head[1] & 0xE0 == 0xE0):
        return _mpeg
    return None


def _flac(file: BinaryIO, size: int, *, begin: int = 0) -> Extent:
    """STREAMINFO comes first; its total of samples is 0 where the writer could not go back.

    That the stream reaches that far is shown by a seek to its last sample; that it goes on, by its last frame.
    """
    file.seek(begin)
    info = file.read(42)
    n_samples = int.from_bytes(info[21:26], "big") & 0xF_FFFF_FFFF
    if len(info) < 42 or n_samples == 0:
        return Extent()
    return Extent(stated=True, unread_bytes=_beyond(file, size, n_samples, block=int.from_bytes(info[10:12], "big")))


def _beyond(file: BinaryIO, size: int, n_samples: int, *, block: int) -> int:
    """Bytes of the frames that hold more than the first ``n_samples``."""
    file.seek(max(0, size - LARGEST_FRAME))
    last = last_frame(file.read(), block=block, beyond=n_samples)
    if last is None:
        return 0
    file.seek(0)
    return next((size - frame.at for frame in frames(file.read(), block=block) if frame.end > n_samples), 0)


def _ogg(file: BinaryIO, size: int) -> Extent:
    """Pages follow each other; the last says that it is the last, and a stream without it was cut."""
    at, last, begun = 0, False, False
    while at < size:
        file.seek(at)
        head = file.read(27 + 255)
        if head[:5] != b"OggS\0"[: len(head)]:
            break
        table = head[27 : 27 + head[26]] if len(head) > 26 else b""
        end = at + 27 + len(table) + sum(table)
        if len(head) < 27 or len(table) < head[26] or end > size:
            return Extent(cut=f"the page at byte {at} is not whole")
        first, last = bool(head[5] & 2), bool(head[5] & 4)
        if first and begun:
            return Extent(chained=True)
        begun = begun or not first
        at = end
    if not last:
        return Extent(cut=f"the last page, before byte {at}, does not end the stream")
    return Extent(stated=True, unread_bytes=size - at)


def _mpeg(file: BinaryIO, size: int) -> Extent:
    """A first frame of LAME's, Xing's or Fraunhofer's counts frames and bytes; without it any length is an estimate."""
    begin = 0
    file.seek(0)
    while (tag := file.read(10))[:3] == b"ID3" and len(tag) == 10:
        # Four bytes of seven bits each, and a footer where a flag says so.
        begin += 10 + sum((byte & 0x7F) << shift for byte, shift in zip(tag[6:], (21, 14, 7, 0), strict=True))
        begin += 10 * (tag[5] >> 4 & 1)
        file.seek(begin)
    file.seek(begin)
    frame = file.read(192)
    if frame[:4] == b"fLaC":
        return _flac(file, size, begin=begin)
    n_frames, n_bytes = _counts(frame)
    if not n_frames or not n_bytes:
        return Extent(stretch=MPEG_STRETCH)
    available = size - begin
    if n_bytes > available:
        return Extent(cut=f"the header states {n_bytes} bytes of frames, {available} follow")
    file.seek(begin + n_bytes)
    rest = file.read(1 << 12)
    explained = rest.startswith(_TAGS) or not any(rest)
    return Extent(stated=True, unread_bytes=0 if explained else available - n_bytes)


def _counts(frame: bytes) -> tuple[int, int]:
    """Frames and bytes that a Xing, Info or VBRI header states; 0 where it does not."""
    if frame[36:40] == b"VBRI":
        return int.from_bytes(frame[50:54], "big"), int.from_bytes(frame[46:50], "big")
    at = max(frame[:48].find(b"Xing"), frame[:48].find(b"Info"))
    if at < 0 or len(frame) < at + 16:
        return 0, 0
    flags = frame[at + 7]
    fields = [int.from_bytes(frame[at + 8 + 4 * i : at + 12 + 4 * i], "big") for i in range(2)]
    return (fields[0], fields[1]) if flags & 3 == 3 else (fields[0] if flags & 1 else 0, 0)


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
