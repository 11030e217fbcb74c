"""The learning rate beyond the edge of a grid."""

from __future__ import annotations

from collections.abc import Sequence

SMALLEST, LARGEST = 1e-7, 1.0
"""No learning rate is tried beyond these: the ends of the grid that SUPERB's rules name."""


def beyond(rates: Sequence[float], chosen: float) -> float | None:
    """The next learning rate outwards, as far from ``chosen`` as its neighbour is, on a logarithmic scale.

    Rounded to three digits. None where ``chosen`` is not at an edge, where there is no neighbour, where the next one
    would lie outside of `SMALLEST` to `LARGEST`, or where rounding leaves it in the grid.
    """
    grid = sorted(rates)
    if len(grid) < 2 or chosen not in (grid[0], grid[-1]):
        return None
    neighbour = grid[1] if chosen == grid[0] else grid[-2]
    found = float(f"{chosen * (chosen / neighbour):.3g}")
    outwards = found > grid[-1] if chosen == grid[-1] else found < grid[0]
    return found if outwards and SMALLEST <= found <= LARGEST else None
