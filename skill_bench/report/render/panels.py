"""Columns that do not fit side by side, as panels below each other."""

from __future__ import annotations

from collections.abc import Sequence


def panels(widths: Sequence[float], room: float) -> list[list[int]]:
    """Numbers of the columns in each panel, in order: as many as fit into ``room``, and one at least."""
    found: list[list[int]] = [[]]
    left = room
    for number, width in enumerate(widths):
        if found[-1] and width > left:
            found.append([])
            left = room
        found[-1].append(number)
        left -= width
    return found
