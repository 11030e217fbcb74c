"""Which tasks tell what was learnt: where the teacher is ahead of an untrained encoder and of log-mel features.

The others are shown, not averaged. Where a section has no teacher or lacks a control, nobody knows, and all count.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from skill_bench.report.statistics.mean import difference_of, spread_over_tasks
from skill_bench.report.table.columns import Column
from skill_bench.report.table.quantities import MEAN, RETENTION
from skill_bench.report.table.relative import with_mean, with_ranks, with_retention
from skill_bench.report.table.table import SystemRow
from skill_bench.report.table.whole import Parts

CONTROLS = ("random", "logmel")
"""Names of the untrained encoder and of the filter bank."""
STANDARD_ERRORS = 3.0
RULE = (
    f"A task counts where the teacher is better than an untrained encoder ({CONTROLS[0]}) and than log-mel features "
    f"({CONTROLS[1]}) by {STANDARD_ERRORS:g} standard errors of the difference. The others do not tell what was "
    "learnt: they are shown, not averaged."
)
Found = tuple[SystemRow, Parts]


@dataclass(frozen=True, kw_only=True)
class Lead:
    """By how many standard errors the teacher is ahead of each control on one task; None: not compared."""

    column: Column
    by_control: Mapping[str, float | None]

    @property
    def is_known(self) -> bool:
        """Whether the teacher was held against every control."""
        return None not in self.by_control.values()

    @property
    def counts(self) -> bool:
        """Whether the task is one that is averaged."""
        return all(lead is not None and lead >= STANDARD_ERRORS for lead in self.by_control.values())


def in_standard_errors(difference: float, standard_error: float) -> float:
    """A difference that does not vary is as many as one likes."""
    if standard_error:
        return difference / standard_error
    return math.copysign(math.inf, difference) if difference else 0.0


def with_telling_tasks(rows: Sequence[Found], judged: Sequence[Column]) -> tuple[list[Found], list[Column], list[str]]:
    """The rows with means, ranks and retention over the tasks that count; their columns; the names of the others.

    Args:
        rows: Each with its parts of the judged columns, as far as its predictions can be read.
        judged: The columns in the mean so far.
    """
    leads = _leads(rows, judged)
    if not leads or not all(lead.is_known for lead in leads) or all(lead.counts for lead in leads):
        return [*rows], [*judged], []
    counting = [lead.column for lead in leads if lead.counts]
    return _averaged(rows, counting), counting, [lead.column.task for lead in leads if not lead.counts]


def _leads(rows: Sequence[Found], judged: Sequence[Column]) -> list[Lead]:
    teacher = next((parts for row, parts in rows if row.kind == "teacher"), None)
    controls = {name: next((parts for row, parts in rows if row.system == name), None) for name in CONTROLS}
    if teacher is None or None in controls.values():
        return []
    return [
        Lead(
            column=column,
            by_control={name: _lead(teacher, parts or {}, column) for name, parts in controls.items()},
        )
        for column in judged
    ]


def _lead(teacher: Parts, control: Parts, column: Column) -> float | None:
    ours, its = (parts.get(column.name, ()) for parts in (teacher, control))
    pair = next(((x, y) for x in its for y in ours if x.units == y.units), None)
    if pair is None:
        return None
    spread = spread_over_tasks([difference_of(*pair)])
    return in_standard_errors(spread.value, spread.variance**0.5)


def _averaged(rows: Sequence[Found], counting: Sequence[Column]) -> list[Found]:
    """Rows that lack a task of the section have no mean, whether or not it counts."""
    plain = []
    for row, _ in rows:
        kept = {name: value for name, value in row.quantities.items() if name not in (MEAN.name, RETENTION.name)}
        without = replace(row, quantities=kept)
        plain.append(without if row.value(MEAN) is None else with_mean(without, counting))
    parts = {_key(row): own for row, own in rows}
    return [(row, parts[_key(row)]) for row in with_retention(with_ranks(plain, by=MEAN), by=MEAN)]


def _key(row: SystemRow) -> tuple[str, str, str | None, str]:
    return row.origin, row.system, row.identity, row.title
