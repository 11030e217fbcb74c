"""A section as headings and text cells: what Markdown, LaTeX and the console have in common.

Columns that do not fit side by side become panels below each other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from skill_bench.base.errors import first_few
from skill_bench.base.escape import without_paths
from skill_bench.report.statistics.interval import Interval
from skill_bench.report.table.columns import Column
from skill_bench.report.table.quantities import MEAN, RETENTION, Quantity, quantities
from skill_bench.report.table.relative import place
from skill_bench.report.table.table import Score, Section, SystemRow


def name_of(quantity: Quantity) -> str:
    """What a user calls its column: ``of_teacher``, ``params``."""
    return quantity.title.lower().replace(" ", "_")


ABSENT = "–"
NO_INTERVAL = "†"
"""Behind a measured value that has no interval; the section's notes say why."""
Certainty = Literal["seeds", "ends", "half"]
"""What stands behind a number: ``± 7.78 (2)``, the standard deviation over so many seeds; ``[70.1, 80.2]``, the ends of
its interval, also behind the mean; or ``± 5.1``, half of that interval, with fewer digits before it, but its ends where
half of it would leave 0 to 100."""
_WHOLE = 100
RANKING = ("rank", name_of(MEAN), name_of(RETENTION))
"""Columns that rank systems: on synthetic speech, which shows that everything works, they would be read as a result."""


@dataclass(frozen=True, kw_only=True)
class TextColumn:
    """One column: its heading and a text for each row of the section.

    ``name`` is what a user calls it. ``places`` are the rows' ranks by this column, for renderers that mark the best;
    None where there is no order.
    """

    name: str
    heading: str
    texts: tuple[str, ...]
    places: tuple[int | None, ...] | None = None
    is_text: bool = False

    def of(self, rows: Sequence[int]) -> TextColumn:
        """The same for some rows of the section, by their numbers."""
        places = None if self.places is None else tuple(self.places[row] for row in rows)
        texts = tuple(self.texts[row] for row in rows)
        return TextColumn(name=self.name, heading=self.heading, texts=texts, places=places, is_text=self.is_text)


def columns_of(section: Section, *, certainty: Certainty = "seeds") -> list[TextColumn]:
    """System, source, the metrics, scores and costs; a column in which every row is empty is left out.

    Args:
        certainty: What stands behind numbers; with intervals also ranks, where some rows share one.
    """
    rows = section.rows
    shared = certainty != "seeds" and any((row.rank_last or 0) > (row.rank or 0) for row in rows)
    columns = [
        TextColumn(name="system", heading="system", texts=tuple(row.title for row in rows), is_text=True),
        TextColumn(name="source", heading="source", texts=tuple(source_of(row) for row in rows), is_text=True),
        *(_metric(column, section, certainty) for column in section.shown),
        *(_quantity(score, rows, certainty) for score in quantities("score", printed=True)),
        *([_ranks(rows)] if shared else []),
        *(_quantity(cost, rows, certainty) for cost in quantities("cost", printed=True)),
    ]
    return [column for column in columns if column.is_text or set(column.texts) != {ABSENT}]


def source_of(row: SystemRow) -> str:
    """``measured``, ``measured, shipped`` or ``published``."""
    return row.source if row.source == "published" or row.origin == "run" else f"{row.source}, {row.origin}"


def notes_of(section: Section, rows: Sequence[SystemRow] | None = None) -> list[str]:
    """What the rows, or some of them, have to say: failed cells, absent values, the hardware."""
    rows = section.rows if rows is None else rows
    said = [*section.notes, *(f"{row.title}: {'; '.join(row.notes)}" for row in rows if row.notes)]
    said += [*without_interval(section, rows), *rates_at_edges(section, rows)]
    machines = dict.fromkeys(row.measured_on for row in rows if row.measured_on)
    return said + [f"throughput and memory measured on {machine}" for machine in machines]


def averaged(section: Section) -> str:
    """What the mean is over: ``tasks``, or the names of those that count, where some do not or there are few."""
    return ", ".join(column.task.upper() for column in section.averaged) if section.names_its_mean else "tasks"


def without_interval(section: Section, rows: Sequence[SystemRow] | None = None) -> list[str]:
    """Why values of a task have no interval, and of which rows."""
    said = []
    for column in section.shown:
        reasons: dict[str, list[str]] = defaultdict(list)
        for row in section.rows if rows is None else rows:
            if (cell := row.scores.get(column.name)) is not None and cell.no_interval is not None:
                reasons[without_paths(cell.no_interval)].append(row.title)
        each = [f"{why} ({first_few(titles, most=3)})" for why, titles in reasons.items()]
        if each:
            said.append(f"{NO_INTERVAL} {column.task}: no interval, {first_few(each, most=2, separator='; ')}")
    return said


def rates_at_edges(section: Section, rows: Sequence[SystemRow] | None = None) -> list[str]:
    """For which tasks and rows a better learning rate may lie beyond those tried; not of synthetic speech."""
    found = {
        column.task: [row.title for row in (section.rows if rows is None else rows) if row.rate_at_edge(column)]
        for column in section.judged
    }
    each = [f"{task} ({first_few(titles, most=3)})" for task, titles in found.items() if titles]
    said = f"the chosen learning rate is at the edge of the grid, a better one may lie beyond: {'; '.join(each)}"
    return [said] if each and not section.synthetic else []


def _metric(column: Column, section: Section, certainty: Certainty) -> TextColumn:
    cells = [row.scores.get(column.name) for row in section.rows]
    return TextColumn(
        name=column.task,
        heading=column.heading,
        texts=tuple(ABSENT if cell is None else _score(cell, certainty) for cell in cells),
        places=None
        if column.task in section.left_out
        else _places(section.rows, [None if cell is None else cell.points for cell in cells], _decimals(certainty)),
    )


def _places(rows: Sequence[SystemRow], values: Sequence[float | None], decimals: int) -> tuple[int | None, ...]:
    """Of the rows that have a rank, where some have; the others take no place. What prints alike shares one."""
    ranked = [row.rank is not None for row in rows]
    printed = [None if value is None else round(value, decimals) for value in values]
    among = [value if own or not any(ranked) else None for own, value in zip(ranked, printed, strict=True)]
    return tuple(place(value, among) for value in among)


def _score(cell: Score, certainty: Certainty) -> str:
    if certainty == "seeds":
        return f"{cell.value:.2f}" + ("" if cell.std is None else f" ± {cell.std:.2f} ({len(cell.by_seed)})")
    if cell.interval is None:
        return f"{cell.value:.2f}{'' if cell.no_interval is None else NO_INTERVAL}"
    return f"{cell.value:.{_decimals(certainty)}f}{_behind(cell.interval, certainty, cell.value)}"


def _decimals(certainty: Certainty) -> int:
    return 1 if certainty == "half" else 2


def _behind(interval: Interval | None, certainty: Certainty, value: float | None) -> str:
    if interval is None or certainty == "seeds":
        return ""
    half = (interval.high - interval.low) / 2
    if certainty == "half" and (value is None or (value >= half and value + half <= _WHOLE)):
        return f" ± {half:.1f}"
    return f" [{interval.low:.1f}, {interval.high:.1f}]"


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
    return TextColumn(name="rank", heading="rank", texts=tuple(texts))


def _quantity(quantity: Quantity, rows: Sequence[SystemRow], certainty: Certainty) -> TextColumn:
    values = [row.value(quantity) for row in rows]
    texts = [quantity.text(value, absent=ABSENT) for value in values]
    behind = [_behind(row.intervals.get(quantity.name), certainty, None) for row in rows]
    return TextColumn(
        name=name_of(quantity),
        heading=quantity.heading,
        texts=tuple(text + more for text, more in zip(texts, behind, strict=True)),
        places=_places(rows, values, quantity.decimals or 0) if quantity.kind == "score" else None,
    )


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
