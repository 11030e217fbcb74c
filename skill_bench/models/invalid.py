"""What is wrong with a value from a file, in words: short whatever the value is."""

from __future__ import annotations

import reprlib
from typing import Any

from pydantic import ValidationError


def shown(value: Any) -> str:
    """``value`` for a message, in at most some eighty characters; never raises."""
    try:
        text = reprlib.repr(value)
    except Exception:  # a number of more digits than Python prints, an object with a faulty repr
        text = f"a {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:80]}..."


def describe(error: ValidationError) -> str:
    """The first fault: where, what was found, what was expected."""
    fault = error.errors(include_url=False, include_context=False)[0]
    where = ".".join(map(str, fault["loc"])) or "its value"
    if fault["type"] == "missing":
        return f"{where!r} is missing"
    if fault["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"unknown field {where!r}; a newer skill-bench may have written it"
    expected = fault["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    return f"{where} = {shown(fault['input'])}, expected {expected}"
