"""The tables of docs/statistics.md that simulations write, each in its place between two comments."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from skill_bench.base.documents import write_atomic

PAGE = Path(__file__).parents[2] / "docs" / "statistics.md"
BAND = (93.0, 97.0)
"""How often, in per cent, an interval of 95 % is to hold the truth."""
_END = "<!-- to here -->"


def marked(covered: float) -> str:
    """A share in per cent, bold where it lies outside of the band."""
    share = f"{100 * covered:.1f}"
    return share if BAND[0] <= float(share) <= BAND[1] else f"**{share}**"


def lines(name: str) -> list[str]:
    """Of a table, its two lines of heading included."""
    return _parts(name)[1].strip().splitlines()


def percentages(cell: str) -> list[float]:
    """The shares that a cell holds."""
    return [float(share.strip("*")) for share in cell.split(", ")]


def rows(name: str) -> list[list[str]]:
    """Cells of a table."""
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines(name)[2:]]


def write(name: str, table: Sequence[str]) -> None:
    """Puts a table in its place."""
    before, _, after = _parts(name)
    write_atomic(PAGE, (before + "\n".join(["", *table, ""]) + after).encode())


def _parts(name: str) -> tuple[str, str, str]:
    """The page before, in and behind a table."""
    begin = f"<!-- {name} -->"
    before, rest = PAGE.read_text(encoding="utf-8").split(begin)
    table, after = rest.split(_END, 1)
    return before + begin, table, _END + after
