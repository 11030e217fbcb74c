"""Where names may stand in a scatter plot: they meet neither a mark nor another name."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

Align = Literal["left", "right", "center"]
Box = tuple[float, float, float, float]
"""Left, bottom, right, top, in pixels."""
PIXELS_PER_CHARACTER = 7.4
"""Of 11 pixels' size, on the wide side: a name that is shorter leaves room, one that is longer would meet another."""
_HEIGHT = 13.0
_RADIUS = 7.0
_NEARER = 12.0
"""From another mark: a name that is nearer would seem that one's."""
_LEAVES = 14.0
"""From its mark, where a line begins to count."""
_FAR = (22, 36, 50, 64, 6)
_OUT = (24, 60, 96, 132)
"""Up or down, and to the side, of the places to which a line leads."""


class Place(NamedTuple):
    """Where a name stands: the point that its text is aligned to, and whether a line has to lead there."""

    x: float
    y: float
    align: Align
    is_far: bool = False


def place_labels(
    marks: Sequence[tuple[float, float]],
    texts: Sequence[str],
    *,
    width: float,
    height: float,
    taken: Iterable[Box] = (),
) -> list[Place | None]:
    """The place of each name, ``None`` where there is no room; the first names choose first.

    Args:
        marks: In pixels from the lower left corner.
        taken: What names must not cover, beside the marks themselves.
    """
    used = [*taken, *(_around(mark, _RADIUS) for mark in marks)]
    found: list[Place | None] = []
    for mark, text in zip(marks, texts, strict=True):
        others = [_around(other, _NEARER) for other in marks if other != mark]
        for place in _places(*mark):
            box, line = box_of(place, text), _line(mark, place)
            near = [] if place.is_far else others
            inside = box[0] >= 0 and box[2] <= width and box[1] >= 0 and box[3] <= height
            if inside and all(_is_free(one, [*used, *near]) for one in (box, *line)):
                used += [box, *line]
                found.append(place)
                break
        else:
            found.append(None)
    return found


def _line(mark: tuple[float, float], place: Place) -> list[Box]:
    """Where the line to a name goes, outside of its own mark and of marks upon it: it meets no other mark or name."""
    if not place.is_far:
        return []
    (x, y), long = mark, math.dist(mark, place[:2])
    shares = [at / long for at in range(round(_LEAVES), round(long), 3)]
    return [_around((x + share * (place.x - x), y + share * (place.y - y)), 1.0) for share in shares]


def _around(mark: tuple[float, float], radius: float) -> Box:
    return mark[0] - radius, mark[1] - radius, mark[0] + radius, mark[1] + radius


def box_of(place: Place, text: str) -> Box:
    """What a name covers."""
    long = PIXELS_PER_CHARACTER * len(text)
    left = place.x - {"left": 0.0, "center": 0.5, "right": 1.0}[place.align] * long
    return left, place.y - _HEIGHT / 2, left + long, place.y + _HEIGHT / 2


def _places(x: float, y: float) -> Iterator[Place]:
    """Beside the mark, above and below it, at its corners; then farther away, where a line leads to it."""
    sides: tuple[tuple[float, Align], ...] = ((1, "left"), (-1, "right"))
    yield from (Place(x + 10 * side, y, align) for side, align in sides)
    yield from (Place(x, y + up, "center") for up in (15, -15))
    yield from (Place(x + 9 * side, y + up, align) for up in (11, -11) for side, align in sides)
    yield from (
        Place(x + out * side, y + up, align, True)
        for out in _OUT
        for away in _FAR
        for up in (-away, away)
        for side, align in sides
    )


def _is_free(box: Box, used: Iterable[Box]) -> bool:
    left, bottom, right, top = box
    return all(left >= r or right <= x or bottom >= t or top <= y for x, y, r, t in used)
