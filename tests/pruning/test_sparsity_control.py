"""The page on the control of the sparsity: its words are the script's, its numbers what the code gives."""

from __future__ import annotations

from pathlib import Path

import pytest
from sparsity_control import PULLS, RUNS, SHAPES, TEXT, TOLERANCE, Kind, begins, cell

PAGE = Path(__file__).parents[2] / "docs" / "sparsity-control.md"


def numbers(text: str) -> list[float]:
    return [float(number) for number in text.strip().removesuffix(" %").split(", ")]


def stated(kind: Kind, pull: float) -> list[float]:
    """Of the shorter run and the smaller shape."""
    (row,) = (row for row in PAGE.read_text().splitlines() if row.startswith(begins(RUNS[0], "small teacher", kind)))
    return numbers(row.split("|")[4 + PULLS.index(pull)])


def test_the_page_begins_with_the_scripts_text() -> None:
    assert PAGE.read_text().startswith(TEXT)


@pytest.mark.parametrize(("kind", "pull"), [("held", 1.0), ("held", 3.0), ("multipliers", 1.0)])
def test_cells_are_what_the_code_gives(kind: Kind, pull: float) -> None:
    """Rounding, which differs between machines, moves 375 noisy updates by less than a digit of what is printed."""
    found = numbers(cell(SHAPES["small teacher"], RUNS[0], kind, pull))
    assert found == pytest.approx(stated(kind, pull), abs=0.005, rel=0.02)
    assert (found[1] < TOLERANCE) == (kind == "held")
