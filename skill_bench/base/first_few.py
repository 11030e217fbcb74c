"""Long lists in messages: their beginning, and how much is left out."""

from __future__ import annotations

from collections.abc import Iterable


def first_few(items: Iterable[object], *, most: int = 5, separator: str = ", ", more: str = " and {} more") -> str:
    """The first ``most`` items as text; where there are others, ``more`` with their number follows."""
    listed = [str(item) for item in items]
    n_left = len(listed) - most
    return separator.join(listed[:most]) + (more.format(n_left) if n_left > 0 else "")
