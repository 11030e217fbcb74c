"""Containers that state how many bytes of samples follow: WAV, RF64, W64, AIFF, 8SVX, CAF, AU, SPHERE, VOC.

Formats: Microsoft and IBM, "Multimedia Programming Interface and Data Specifications 1.0" (RIFF); EBU Tech 3306
(RF64); Sony Wave64; Apple, "Audio Interchange File Format" and "Core Audio Format Specification 1.0"; Sun audio(5);
NIST SPHERE; Creative Voice File.
"""

from __future__ import annotations

import math
import re
import struct
from dataclasses import dataclass, replace
from functools import partial
from typing import BinaryIO

from skill_bench.corpora.audio.extent import MPEG_STRETCH, Extent, Reader, compared, is_left_open, left_open

_MOST_CHUNKS = 10_000  # no file has more; a file of zeros looks as if it had
_GSM_BLOCK = 65
_VOC_SLACK = 16  # sox counts a block's head differently


@dataclass(frozen=True, kw_only=True)
class _Form:
    """How chunks are written.

    Attributes:
        first: Where the first begins.
        name_bytes: Of a chunk's name.
        size: struct format of its size.
        counted: Bytes of the chunk's head that its size counts.
        even: Sizes are rounded up to multiples of this.
        samples: Names of the chunk with samples.
    """

    first: int
    name_bytes: int
    size: str
    counted: int = 0
    even: int = 2
    samples: tuple[bytes, ...] = (b"data",)

    @property
    def head(self) -> int:
        return self.name_bytes + struct.calcsize(self.size)

    def chunk(self, file: BinaryIO, at: int) -> tuple[bytes, int]:
        """Name and size of the body of the chunk at a byte."""
        file.seek(at)
        head = file.read(self.head)
        return head[: self.name_bytes], struct.unpack(self.size, head[self.name_bytes :])[0] - self.counted

    def end(self, at: int, n_bytes: int) -> int:
        """Where the chunk after one at a byte begins."""
        return at + self.head + -(-n_bytes // self.even) * self.even


_W64_DATA = b"data\xf3\xac\xd3\x11\x8c\xd1\x00\xc0O\x8e\xdb\x8a"
_RIFF = _Form(first=12, name_bytes=4, size="<I")
_RIFX = _Form(first=12, name_bytes=4, size=">I")
_W64 = _Form(first=40, name_bytes=16, size="<q", counted=24, even=8, samples=(_W64_DATA,))
_IFF = _Form(first=12, name_bytes=4, size=">I", samples=(b"SSND", b"BODY"))
_CAF = _Form(first=8, name_bytes=4, size=">q", even=1)


def reader(head: bytes) -> Reader | None:
    """What reads a container that begins with these bytes; None if it is none of these."""
    kind = head[8:12]
    if head[:4] in (b"RIFF", b"RIFX") and kind == b"WAVE":
        return partial(_chunks, form=_RIFF if head[:4] == b"RIFF" else _RIFX)
    if head[:4] in (b"RF64", b"BW64") and kind == b"WAVE":
        return _rf64
    if head[:4] == b"riff" and head[24:28] == b"wave":
        return partial(_chunks, form=_W64)
    if head[:4] == b"FORM" and kind in (b"AIFF", b"AIFC", b"8SVX", b"16SV"):
        return partial(_chunks, form=_IFF)
    if head[:4] == b"caff":
        return partial(_chunks, form=_CAF)
    if head[:4] in (b".snd", b"dns."):
        return partial(_au, order=">" if head[:4] == b".snd" else "<")
    if head[:7] == b"NIST_1A":
        return _sphere
    if head[:19] == b"Creative Voice File":
        return _voc
    return None


def _chunks(file: BinaryIO, size: int, *, form: _Form) -> Extent:
    """Walks to the chunk with samples."""
    at, read = form.first, _samples
    for _ in range(_MOST_CHUNKS):
        name, stated = form.chunk(file, at)
        if name in form.samples:
            return read(file, size, form, at, stated)
        if stated < 0:
            break
        if name == b"fmt ":
            read = _CODED.get(file.read(2), read)
        at = form.end(at, stated)
    return Extent()


def _samples(file: BinaryIO, size: int, form: _Form, at: int, stated: int) -> Extent:
    begin = at + form.head
    if stated == 0 and not _unexplained(file, size, form, begin):
        return Extent(stated=True)  # no samples, and that is meant
    if is_left_open(stated):
        return left_open(size - begin + form.counted, at=at + form.name_bytes, form=form.size)
    if stated > size - begin:
        return compared(stated, available=size - begin)
    ends = {form.end(at, stated), begin + stated}  # some writers do not pad
    unread = min(_unexplained(file, size, form, end) for end in ends)
    return compared(stated, available=size - begin, unread=unread)


def _gsm(file: BinaryIO, size: int, form: _Form, at: int, stated: int) -> Extent:
    """GSM 6.10 in a WAV: blocks of 65 bytes. Behind an odd number of them libsndfile decodes the byte of padding as one
    more; an even number of bytes, one less than they have, gives it all of them and no other."""
    found = _samples(file, size, form, at, stated)
    n_blocks, left = divmod(stated if found.stated else size - at - form.head, _GSM_BLOCK)
    if found.cut is not None or n_blocks % 2 == 0 or left > 1:
        return found
    shown = n_blocks * _GSM_BLOCK - 1 + form.counted
    return replace(found, patch=(at + form.name_bytes, struct.pack(form.size, shown)))


def _mpeg(file: BinaryIO, size: int, form: _Form, at: int, stated: int) -> Extent:
    """MP3 in a WAV: its length is an estimate, as that of an MP3 alone that does not count its frames."""
    available = size - at - form.head
    if not is_left_open(stated) and stated > available:
        return compared(stated, available=available)
    open_end = left_open(available * MPEG_STRETCH, at=at + form.name_bytes, form=form.size)
    return replace(open_end, stretch=MPEG_STRETCH)


_CODED = {b"\x31\0": _gsm, b"\x50\0": _mpeg, b"\x55\0": _mpeg}
"""By what the chunk ``fmt`` says."""


def _unexplained(file: BinaryIO, size: int, form: _Form, at: int) -> int:
    """Bytes from ``at`` to the end that are not whole chunks with readable names, nor padding."""
    for _ in range(_MOST_CHUNKS):
        if size - at < form.head:
            break
        name, stated = form.chunk(file, at)
        if not all(32 <= byte < 127 for byte in name[:4]) or not 0 <= stated <= size - at - form.head:
            break
        at = form.end(at, stated)
    left = size - at
    if left <= 0 or left < form.head:
        return 0
    file.seek(at)
    return 0 if left <= 1 << 16 and not any(file.read(left)) else left


def _rf64(file: BinaryIO, size: int) -> Extent:
    """The size of ``data`` stands in the chunk ``ds64``, after the file's."""
    file.seek(12)
    name, _, _, n_bytes = struct.unpack("<4sIQQ", file.read(24))
    if name != b"ds64":
        return _chunks(file, size, form=_RIFF)
    at = _RIFF.first
    for _ in range(_MOST_CHUNKS):
        name, stated = _RIFF.chunk(file, at)
        if name == b"data":
            begin = at + _RIFF.head
            if is_left_open(n_bytes):
                return left_open(size - begin, at=28, form="<q") if size > begin else Extent(stated=True)
            rest = _unexplained(file, size, _RIFF, begin + n_bytes + n_bytes % 2)
            return compared(n_bytes, available=size - begin, unread=rest)
        at = _RIFF.end(at, stated)
    return Extent()


def _au(file: BinaryIO, size: int, *, order: str) -> Extent:
    file.seek(4)
    begin, n_bytes = struct.unpack(f"{order}II", file.read(8))
    if is_left_open(n_bytes):
        return left_open(size - begin, at=8, form=f"{order}I")
    return compared(n_bytes, available=size - begin)


def _sphere(file: BinaryIO, size: int) -> Extent:
    file.seek(0)
    text = file.read(1 << 14).decode("latin-1")
    first = re.match(r"NIST_1A\n\s*(\d{1,9})\n", text)
    numbers = dict(re.findall(r"^(sample_count|sample_n_bytes|channel_count) -i (\d{1,15})\b", text, re.MULTILINE))
    if first is None or len(numbers) < 3 or "0" in numbers.values() or "embedded" in text:  # compressed
        return Extent()
    return compared(math.prod(map(int, numbers.values())), available=size - int(first[1]))


def _voc(file: BinaryIO, size: int) -> Extent:
    """Blocks of a type, a size of three bytes and a body, and a byte after the last."""
    file.seek(20)
    (at,) = struct.unpack("<H", file.read(2))
    file.seek(at)
    kind, low, high = struct.unpack("<BHB", file.read(4))
    if kind not in (1, 9):
        return Extent()
    found = compared(low + (high << 16), available=size - at - 4, unread=0)
    # libsndfile takes the heads of further blocks for samples.
    return replace(found, chained=size - at - 4 - low - (high << 16) > _VOC_SLACK)
