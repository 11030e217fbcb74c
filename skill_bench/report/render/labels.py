"""Where names may stand in a scatter plot: they meet neither a mark nor another name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Box = tuple[float, float, float, float]
"""Left, bottom, right, top, in pixels."""
PIXELS_PER_CHARACTER = 7.4
"""Of 11 pixels' size, on the wide side: a name that is shorter leaves room, one that is longer would meet another."""
_HEIGHT = 13.0
_RADIUS = 7.0


def place_labels(
    marks: Sequence[tuple[float, float]],
    texts: Sequence[str],
    *,
    width: float,
    height: float,
    taken: Iterable[Box] = (),
) -> list[tuple[float, float] | None]:
    """The left end and the middle height of each name, ``None`` where there is no room; the first names choose first.

    Args:
        marks: In pixels from the lower left corner.
        taken: What names must not cover, beside the marks themselves.
    """
    used = [*taken, *((x - _RADIUS, y - _RADIUS, x + _RADIUS, y + _RADIUS) for x, y in marks)]
    found: list[tuple[float, float] | None] = []
    for (x, y), text in zip(marks, texts, strict=True):
        long = PIXELS_PER_CHARACTER * len(text)
        spot = next((spot for spot in _spots(x, y, long) if _is_free(_box(spot, long), used, width, height)), None)
        if spot is not None:
            used.append(_box(spot, long))
        found.append(spot)
    return found


def _spots(x: float, y: float, long: float) -> list[tuple[float, float]]:
    """Beside the mark, then above and below it, then at its corners: farther away it would seem another mark's."""
    sides = [(x + 10, y), (x - 10 - long, y), (x - long / 2, y + 15), (x - long / 2, y - 15)]
    corners = [(x + side, y + up) for up in (11, -11) for side in (9, -9 - long)]
    return [*sides, *corners]


def _box(spot: tuple[float, float], long: float) -> Box:
    return spot[0], spot[1] - _HEIGHT / 2, spot[0] + long, spot[1] + _HEIGHT / 2


def _is_free(box: Box, used: Sequence[Box], width: float, height: float) -> bool:
    left, bottom, right, top = box
    inside = left >= 0 and right <= width and bottom >= 0 and top <= height
    return inside and all(left >= r or right <= x or bottom >= t or top <= y for x, y, r, t in used)
