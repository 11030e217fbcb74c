"""Which tasks count in a mean over tasks: those that tell what was learnt. One rule, for tables, pages and tests.

A task counts where the teacher is ahead of an untrained encoder and of log-mel features. `leads` holds them against
each other, `not_counted` decides; what does not count is shown, not averaged.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from skill_bench.report.statistics.mean import difference_of, spread_over_tasks
from skill_bench.report.table.columns import Column
from skill_bench.report.table.quantities import MEAN, RETENTION
from skill_bench.report.table.relative import teacher_of, with_mean, with_ranks, with_retention
from skill_bench.report.table.table import Section, SystemRow
from skill_bench.report.table.whole import Parts

CONTROLS = ("random", "logmel")
"""Names of the untrained encoder and of the filter bank."""
STANDARD_ERRORS = 3.0
RULE = (
    f"A task counts where the teacher is better than an untrained encoder ({CONTROLS[0]}) and than log-mel features "
    f"({CONTROLS[1]}) by {STANDARD_ERRORS:g} standard errors of the difference. The others do not tell what was "
    "learnt: they are shown, not averaged."
)


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
        """Whether it was, and is ahead by enough."""
        return all(lead is not None and lead >= STANDARD_ERRORS for lead in self.by_control.values())

    def __str__(self) -> str:
        """``+6.4 before random, +4.7 before logmel``."""
        return ", ".join(
            f"not held against {name}" if lead is None else f"{lead:+.1f} before {name}"
            for name, lead in self.by_control.items()
        )


def pairs(rows: Sequence[SystemRow]) -> Iterator[tuple[str, SystemRow, SystemRow]]:
    """Which rows are held against each other: a control's name, a teacher, and that control.

    Teachers are those of the section's students, or, where no student's teacher is there, the rows of that kind. A
    control is of the teacher's origin, if that has one.
    """
    of_students = [teacher_of(row, rows) for row in rows if row.kind == "student"]
    teachers = {id(row): row for row in of_students if row is not None}
    for teacher in [*teachers.values()] or [row for row in rows if row.kind == "teacher"]:
        for name in CONTROLS:
            named = [row for row in rows if row.system == name]
            for control in [row for row in named if row.origin == teacher.origin] or named:
                yield name, teacher, control


def leads(found: Sequence[tuple[SystemRow, Parts]], judged: Sequence[Column]) -> list[Lead]:
    """By how much the teacher is ahead on each of the judged columns; of several teachers, the one that is least so.

    Args:
        found: Rows with their parts of the judged columns, as far as predictions can be read. Parts of the rows of
            `pairs` matter, no others.
    """
    parts, rows = {id(row): own for row, own in found}, [row for row, _ in found]
    held: dict[str, list[tuple[Parts, Parts]]] = {name: [] for name in CONTROLS}
    for name, teacher, control in pairs(rows):
        held[name].append((parts[id(teacher)], parts[id(control)]))
    return [
        Lead(column=column, by_control={name: _least(column, own) for name, own in held.items()})
        for column in judged
        if column.has_points
    ]


def _least(column: Column, held: Sequence[tuple[Parts, Parts]]) -> float | None:
    found = [lead for teacher, control in held if (lead := _lead(column, teacher, control)) is not None]
    return min(found, default=None)


def _lead(column: Column, teacher: Parts, control: Parts) -> float | None:
    """Over the speakers that both know, else over items; None where they were not tested on the same."""
    ours, its = (parts.get(column.name, ()) for parts in (teacher, control))
    pair = next(((x, y) for x in its for y in ours if x.units == y.units), None)
    if pair is None:
        return None
    spread = spread_over_tasks([difference_of(*pair)])
    return _in_standard_errors(spread.value, spread.variance**0.5)


def _in_standard_errors(difference: float, standard_error: float) -> float:
    """A difference that does not vary is as many as one likes."""
    if standard_error:
        return difference / standard_error
    return math.copysign(math.inf, difference) if difference else 0.0


def not_counted(tasks: Sequence[str], found: Sequence[Lead]) -> tuple[str, ...]:
    """Those of ``tasks`` that no mean is over: all but those on which the teacher is shown to be ahead.

    None where it was held against every control on no task: then nobody knows, and all count.
    """
    if not any(lead.is_known for lead in found):
        return ()
    counting = {lead.column.task for lead in found if lead.counts}
    return tuple(task for task in tasks if task not in counting)


def why_not(tasks: Sequence[str], found: Sequence[Lead]) -> str:
    """Names the ``tasks`` that do not count, and says why: the end of a sentence, the rule and by how much it fails."""
    by_task = {lead.column.task: str(lead) for lead in found}
    figures = "; ".join(f"{task} {by_task.get(task, 'without any result')}" for task in tasks)
    return f"{', '.join(tasks)}. {RULE} Standard errors by which the teacher leads: {figures}."


def with_telling_tasks(section: Section, found: Sequence[Lead]) -> Section:
    """The section with means, ranks and retention over the tasks that count; its notes name the others."""
    left_out = not_counted(section.tasks, found)
    if not left_out:
        return section
    counting = [lead.column for lead in found if lead.counts]
    rows = [
        with_mean(
            replace(row, quantities={k: v for k, v in row.quantities.items() if k not in (MEAN.name, RETENTION.name)}),
            counting,
        )
        for row in section.rows
    ]
    return replace(
        section,
        rows=tuple(with_retention(with_ranks(rows, by=MEAN), by=MEAN)),
        left_out=left_out,
        notes=(*section.notes, f"the mean leaves out {why_not(left_out, found)}"),
    )
