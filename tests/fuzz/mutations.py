"""Seeded damage to files, texts and values: what battery after battery feeds to readers.

``SKILL_BENCH_FUZZ`` is the number of mutants of a family; without it a battery runs its own small number.
"""

from __future__ import annotations

import copy
import os
import random
from collections.abc import Iterator
from typing import Any

VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 3, 7, 64, 257, 10**6, 10**12, 10**400, -(2**63), 0.0, -0.0, 0.5, 3.0, 1e-7, 1e308,
    float("nan"), float("inf"), "", "0", "1", "768", "true", "None", "[]", "gelu", "x" * 5000, "\0", "\ud800", [], {},
    [0], [None], [[]], [1, 2, 3], ["1"], [10**12] * 3, [1] * 3000, {"a": 1}, {"": {}}, (), ((),), b"", b"\xff",
)  # fmt: skip
"""Replacements for any value: other types, other sizes, the edges of each."""
_LINES = (
    "",
    " ",
    "\t",
    "\ufeff",
    "\u2028",
    "\x85",
    "\x0c",
    "\0",
    "\r",
    "é",
    "\ud7ff",
    "#",
    '"',
    "a\tb\tc\td",
    "-" * 4000,
)
_NUMBERS = (0, 1, 2, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 40, (1 << 64) - 1)
_PIECES = (
    "", " ", "\t", "\n", "\r", "\r\n", "\ufeff", "\u2028", "\x85", "\f", "\v", "\xa0", "\0", "\x1a", '"', '""', ";",
    "#", ",", "|", "..", "../../", "/etc/passwd", "\\", "%", "é", "\U0001f600", "nan", "inf", "-1", "1e999", "1_0", "0",
    "x" * 5000,
)  # fmt: skip


def n_mutants(default: int) -> int:
    """How many mutants a family has."""
    return int(os.environ.get("SKILL_BENCH_FUZZ", default))


def generators(family: str, default: int) -> Iterator[random.Random]:
    """One generator a mutant; each depends on the family's name and the mutant's number alone."""
    for number in range(n_mutants(default)):
        yield random.Random(f"{family} {number}")


def places(tree: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths to everything inside nested dicts and lists."""
    entries = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in entries:
        yield (*at, key)
        yield from places(value, (*at, key))


def mutated_tree(rng: random.Random, tree: Any) -> tuple[Any, str]:
    """A copy of nested dicts and lists with one thing changed, and which."""
    changed = copy.deepcopy(tree)
    path = rng.choice(list(places(changed)))
    *way, last = path
    holder = changed
    for step in way:
        holder = holder[step]
    what = rng.choice(("replace", "replace", "replace", "delete", "move", "wrap", "repeat"))
    if what == "delete":
        del holder[last]
    elif what == "move" and isinstance(holder, dict):
        holder[f"{last}_"] = holder.pop(last)
    elif what == "wrap":
        holder[last] = rng.choice((lambda x: [x], lambda x: {"value": x}, str, lambda x: (x,)))(holder[last])
    elif what == "repeat" and isinstance(holder[last], list):
        holder[last] = holder[last] * rng.choice((0, 2, 50))
    else:
        what, holder[last] = "replace", rng.choice(VALUES)
        return changed, f"{'.'.join(map(str, path))} = {repr_of(holder[last])}"
    return changed, f"{what} {'.'.join(map(str, path))}"


def mutated_bytes(rng: random.Random, data: bytes) -> tuple[bytes, str]:
    """A copy of a file with one piece changed, and which."""
    at = rng.randrange(len(data) + 1) if rng.random() < 0.5 else rng.randrange(min(len(data), 400) + 1)
    what = rng.choice(("flip", "flip", "cut", "insert", "remove", "zero", "fill", "double"))
    n = rng.choice((1, 1, 2, 4, 8, 100))
    changed = {
        "flip": lambda: data[:at] + bytes(b ^ (1 << rng.randrange(8)) for b in data[at : at + n]) + data[at + n :],
        "cut": lambda: data[:at],
        "insert": lambda: data[:at] + rng.randbytes(n) + data[at:],
        "remove": lambda: data[:at] + data[at + n :],
        "zero": lambda: data[:at] + bytes(len(data[at : at + n])) + data[at + n :],
        "fill": lambda: data[:at] + b"\xff" * len(data[at : at + n]) + data[at + n :],
        "double": lambda: data[:at] + data[at : at + 2000] + data[at:],
    }[what]()
    return changed, f"{what} {n} bytes at {at} of {len(data)}"


def mutated_text(rng: random.Random, text: str) -> tuple[str, str]:
    """A copy of a text with one line or character changed, and which."""
    lines = text.split("\n")
    at = rng.randrange(len(lines))
    what = rng.choice(("drop", "repeat", "swap", "line", "inside", "field", "encoding"))
    if what == "drop":
        del lines[at]
    elif what == "repeat":
        lines.insert(at, lines[at])
    elif what == "swap":
        other = rng.randrange(len(lines))
        lines[at], lines[other] = lines[other], lines[at]
    elif what == "line":
        lines.insert(at, rng.choice(_LINES))
    elif what == "inside":
        place = rng.randrange(len(lines[at]) + 1)
        lines[at] = lines[at][:place] + rng.choice(_LINES) + lines[at][place:]
    elif what == "field":
        fields = lines[at].split()
        if fields:
            fields[rng.randrange(len(fields))] = str(rng.choice((-1, 0, "", "nan", "inf", 10**400, "x", "1e999")))
        lines[at] = " ".join(fields)
    else:
        lines[at] = lines[at].encode("utf-8", "replace").decode("latin-1")
    return "\n".join(lines), f"{what} in line {at + 1} of {len(lines)}"


def repr_of(value: Any) -> str:
    """A short name of any value."""
    try:
        return repr(value)[:60]
    except ValueError:  # an integer of more digits than Python prints
        return "a very large integer"


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
