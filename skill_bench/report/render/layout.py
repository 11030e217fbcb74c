"""A section as headings and text cells: what Markdown, LaTeX and the console have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from skill_bench.report.table.columns import Column
from skill_bench.report.table.quantities import quantities
from skill_bench.report.table.quantity import Quantity
from skill_bench.report.table.relative import place
from skill_bench.report.table.table import Score, Section, SystemRow

ABSENT = "–"


@dataclass(frozen=True, kw_only=True)
class TextColumn:
    """One column: its heading and a text for each row of the section.

    ``places`` are the rows' ranks by this column, for renderers that mark the best; None where there is no order.
    """

    heading: str
    texts: tuple[str, ...]
    places: tuple[int | None, ...] | None = None
    is_text: bool = False


def columns_of(
    section: Section, *, metric: Callable[[Score], str] | None = None, whole_rows: bool = False
) -> list[TextColumn]:
    """System, source, the metrics, scores and costs; a column in which every row is empty is left out.

    Args:
        metric: how a cell reads; :func:`with_spread` by default.
        whole_rows: Adds their intervals to the mean and to what is kept of the teacher, and ranks where some share one.
    """
    rows, metric = section.rows, metric or with_spread
    columns = [
        TextColumn(heading="system", texts=tuple(row.title for row in rows), is_text=True),
        TextColumn(heading="source", texts=tuple(source_of(row) for row in rows), is_text=True),
        *(_metric(column, section, metric) for column in section.shown),
        *(_quantity(score, rows, intervals=whole_rows) for score in quantities("score", printed=True)),
        *([_ranks(rows)] if whole_rows and any((row.rank_last or 0) > (row.rank or 0) for row in rows) else []),
        *(_quantity(cost, rows) for cost in quantities("cost", printed=True)),
    ]
    return [column for column in columns if column.is_text or set(column.texts) != {ABSENT}]


def with_spread(cell: Score) -> str:
    """``75.50 ± 7.78 (2)``: mean, standard deviation and number of seeds; the value alone for one seed."""
    text = f"{cell.value:.2f}"
    return text if cell.std is None else f"{text} ± {cell.std:.2f} ({len(cell.by_seed)})"


def with_interval(cell: Score) -> str:
    """``75.50 [70.1, 80.2]``: value and interval; the value alone where there is no interval."""
    text = f"{cell.value:.2f}"
    return text if cell.interval is None else f"{text} [{cell.interval.low:.1f}, {cell.interval.high:.1f}]"


def source_of(row: SystemRow) -> str:
    """``measured``, ``measured, shipped`` or ``published``."""
    return row.source if row.source == "published" or row.origin == "run" else f"{row.source}, {row.origin}"


def notes_of(section: Section) -> list[str]:
    """What the rows have to say: failed cells, absent values, the hardware."""
    said = [*section.notes, *(f"{row.title}: {'; '.join(row.notes)}" for row in section.rows if row.notes)]
    machines = dict.fromkeys(row.measured_on for row in section.rows if row.measured_on)
    return said + [f"throughput and memory measured on {machine}" for machine in machines]


def _metric(column: Column, section: Section, metric: Callable[[Score], str]) -> TextColumn:
    cells = [row.scores.get(column.name) for row in section.rows]
    return TextColumn(
        heading=column.heading,
        texts=tuple(ABSENT if cell is None else metric(cell) for cell in cells),
        places=tuple(None if cell is None else cell.rank for cell in cells),
    )


def _ranks(rows: Sequence[SystemRow]) -> TextColumn:
    """``1–3`` for three rows that share the first rank."""
    texts = [
        ABSENT
        if row.rank is None
        else f"{row.rank}–{row.rank_last}"
        if row.rank_last is not None and row.rank_last > row.rank
        else f"{row.rank}"
        for row in rows
    ]
    return TextColumn(heading="rank", texts=tuple(texts))


def _quantity(quantity: Quantity, rows: Sequence[SystemRow], *, intervals: bool = False) -> TextColumn:
    values = [row.value(quantity) for row in rows]
    texts = [quantity.text(value, absent=ABSENT) for value in values]
    if intervals:
        found = [row.intervals.get(quantity.name) for row in rows]
        texts = [
            text if one is None else f"{text} [{one.low:.1f}, {one.high:.1f}]"
            for text, one in zip(texts, found, strict=True)
        ]
    return TextColumn(
        heading=quantity.heading,
        texts=tuple(texts),
        places=tuple(place(value, values) for value in values) if quantity.kind == "score" else None,
    )
