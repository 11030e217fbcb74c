"""Seeded damage to files of audio and to lists; ``SKILL_BENCH_FUZZ`` is the number of mutants of a family."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

_NUMBERS = (0, 1, 2, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 40, (1 << 64) - 1)
_PIECES = (
    "", " ", "\t", "\n", "\r", "\r\n", "\ufeff", "\u2028", "\x85", "\f", "\v", "\xa0", "\0", "\x1a", '"', '""', ";",
    "#", ",", "|", "..", "../../", "/etc/passwd", "\\", "%", "é", "\U0001f600", "nan", "inf", "-1", "1e999", "1_0", "0",
    "x" * 5000,
)  # fmt: skip


def generators(family: str, default: int) -> Iterator[random.Random]:
    """One generator a mutant, by the family's name and the mutant's number."""
    for number in range(int(os.environ.get("SKILL_BENCH_FUZZ", default))):
        yield random.Random(f"{family} {number}")


def mutated_audio(rng: random.Random, data: bytes) -> bytes:
    """A file with a header field replaced, cut, with flipped bits, or with something added."""
    what = rng.choice(("field", "field", "field", "flip", "flip", "cut", "append", "insert", "remove", "double"))
    at = rng.randrange(min(len(data), 120)) if rng.random() < 0.7 else rng.randrange(len(data))
    n = rng.choice((1, 2, 4, 8))
    if what == "field":
        content = (rng.choice(_NUMBERS) & ((1 << 8 * n) - 1)).to_bytes(n, rng.choice(("little", "big")))
        return data[:at] + content + data[at + n :]
    if what == "flip":
        return data[:at] + bytes(b ^ (1 << rng.randrange(8)) for b in data[at : at + n]) + data[at + n :]
    if what == "cut":
        return data[: rng.randrange(len(data))]
    if what == "append":
        return data + rng.choice((rng.randbytes(n * 50), bytes(n * 50), data[: n * 100], data))
    if what == "insert":
        return data[:at] + rng.randbytes(n) + data[at:]
    return data[:at] + data[at + n :] if what == "remove" else data[:at] + data[at : at + 500] + data[at:]


def mutated_list(rng: random.Random, text: str) -> bytes:
    """A list with a line, a field or a character changed, in some encoding."""
    lines = text.split("\n")
    for _ in range(rng.choice((1, 1, 2))):
        at = rng.randrange(len(lines))
        what = rng.choice(("drop", "repeat", "cut", "join", "piece", "piece", "field", "field", "swap"))
        if what == "drop" and len(lines) > 1:
            del lines[at]
        elif what == "repeat":
            lines.insert(at, lines[at])
        elif what == "cut":
            lines[at] = lines[at][: rng.randrange(len(lines[at]) + 1)]
        elif what == "join" and at + 1 < len(lines):
            lines[at : at + 2] = [lines[at] + lines[at + 1]]
        elif what == "swap":
            other = rng.randrange(len(lines))
            lines[at], lines[other] = lines[other], lines[at]
        elif what == "field":
            separator = "\t" if "\t" in lines[at] else "," if "," in lines[at] else " "
            fields = lines[at].split(separator)
            fields[rng.randrange(len(fields))] = rng.choice(_PIECES)
            lines[at] = separator.join(fields)
        else:
            place = rng.randrange(len(lines[at]) + 1)
            lines[at] = lines[at][:place] + rng.choice(_PIECES) + lines[at][place:]
    encoding = rng.choice(("utf-8",) * 5 + ("utf-8-sig", "utf-16", "utf-16-le", "latin-1"))
    data = "\n".join(lines).encode(encoding, "replace")
    if rng.random() < 0.2 and data:
        place = rng.randrange(len(data))
        data = data[:place] + rng.randbytes(1) + data[place + 1 :]
    return data
