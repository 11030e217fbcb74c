"""JSON as our own files hold it: finite numbers of a machine's size, no name twice, no endless nesting."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

DEEPEST = 100
"""Levels of lists and objects; what we write has fewer than ten, and deeper ones end Python's stack."""
_LARGEST_INTEGER = 2**63


def parse_json(text: str) -> Any:
    """The value that ``text`` holds.

    Raises:
        ValueError: not JSON, or more than a file of ours may hold: NaN, an infinity, an integer beyond 64 bits, a name
            that an object has twice, or more than `DEEPEST` levels.
    """
    try:
        content = _DECODER.decode(text)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    if text.count("[") + text.count("{") > DEEPEST:
        _refuse_depth(content)
    return content


_TOO_DEEP = f"lists and objects of more than {DEEPEST} levels"


def _refuse_depth(content: Any) -> None:
    level = [content]
    for _ in range(DEEPEST):
        holders = [value for value in level if isinstance(value, dict | list)]
        level = [inner for one in holders for inner in (one.values() if isinstance(one, dict) else one)]
    if any(isinstance(value, dict | list) for value in level):
        raise ValueError(_TOO_DEEP)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a value a record may hold")


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(f"{text} is larger than any number")
    return value


def _integer(text: str) -> int:
    if len(text) > 20 or not -_LARGEST_INTEGER <= int(text) < _LARGEST_INTEGER:
        raise ValueError(f"an integer of {len(text)} characters, expected at most 64 bits")
    return int(text)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the name {next(name for name in names if names.count(name) > 1)!r} stands twice")
    return found


_DECODER = json.JSONDecoder(
    parse_constant=_refuse_constant, parse_float=_finite, parse_int=_integer, object_pairs_hook=_object
)
