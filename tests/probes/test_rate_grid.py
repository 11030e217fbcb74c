"""The learning rate beyond the edge of a grid."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skill_bench.evaluation.solving.trained import LARGEST, SMALLEST, beyond


@pytest.mark.parametrize(
    ("rates", "chosen", "found"),
    [
        ((1e-1, 1e-2, 1e-3), 1e-1, 1.0),
        ((1e-3, 1e-1, 1e-2), 1e-3, 1e-4),
        ((1e-1, 1e-2, 1e-3), 1e-2, None),
        ((3e-3, 1e-3), 3e-3, 9e-3),
        ((3e-3, 1e-3), 1e-3, 3.33e-4),
        ((1e-2, 3e-3, 1e-3), 1e-2, 3.33e-2),
        ((1.0, 1e-1), 1.0, None),
        ((1e-6, 1e-7), 1e-7, None),
        ((1e-4,), 1e-4, None),
        ((0.1001, 0.10009), 0.1001, None),
    ],
)
def test_the_grid_goes_on_in_its_own_spacing(rates: tuple[float, ...], chosen: float, found: float | None) -> None:
    assert beyond(rates, chosen) == found


@given(st.lists(st.floats(SMALLEST, LARGEST), min_size=2, max_size=6, unique=True))
def test_what_lies_beyond_is_outside_the_grid_and_within_the_ends(rates: list[float]) -> None:
    for chosen in (min(rates), max(rates)):
        found = beyond(rates, chosen)
        assert found is None or SMALLEST <= found <= LARGEST
        assert found is None or not min(rates) <= found <= max(rates)
