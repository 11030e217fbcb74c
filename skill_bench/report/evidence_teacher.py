"""Whether a teacher is worth distilling: task by task against the systems that learnt nothing."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from skill_bench.report.columns import Column
from skill_bench.report.evidence import Estimate, Group
from skill_bench.report.statistics.repeated import difference_interval
from skill_bench.report.table import Section


def is_teacher(group: Group) -> bool:
    """Whether the group is the teacher of the others."""
    return any(entry.record.system.kind == "teacher" for row in group.rows.values() for entry in row.entries)


def lead(teacher: Group, control: Group, column: Column) -> Estimate | None:
    """Points by which ``teacher`` is better on one task, over probe seeds; None where one has no result."""
    ours, theirs = (_points(group, column) for group in (teacher, control))
    if not ours or not theirs:
        return None
    return Estimate(
        value=statistics.fmean(ours) - statistics.fmean(theirs),
        values=tuple(ours),
        interval=difference_interval(theirs, ours),
    )


def compared_tasks(section: Section) -> list[Column]:
    """By which metric each task is judged, where it is one that counts in points."""
    return [column for column in section.judged if column.has_points]


def tally(leads: Sequence[Estimate | None]) -> str:
    """``4 of 5, decided 3``: of the tasks that both have."""
    found = [one for one in leads if one is not None]
    ahead = [one for one in found if one.value > 0]
    decided = [one for one in ahead if one.interval is not None and one.interval.low > 0]
    return f"{len(ahead)} of {len(found)}, decided {len(decided)}"


def _points(group: Group, column: Column) -> list[float]:
    """With higher better, one a probe seed."""
    cells = [row.cells[column.name] for row in group.rows.values() if column.name in row.cells]
    return [column.points(value) for cell in cells for value in cell.by_seed.values()]
