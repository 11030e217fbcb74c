"""By how much the teacher of a grid is ahead of the controls, task by task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from skill_bench.report.statistics.paired import Comparison
from skill_bench.report.table.columns import Column
from skill_bench.report.table.table import Section
from skill_bench.report.table.telling import CONTROLS, Lead, in_standard_errors
from skill_bench.sweep.report.groups import Group
from skill_bench.sweep.report.paired import differences, judged_by


def leads(section: Section, groups: Sequence[Group]) -> list[Lead]:
    """Of every task of the section that counts in points; nobody leads where there is no teacher."""
    teacher = next((group for group in groups if group.is_teacher), None)
    found = {
        control: differences(section, group, teacher)
        for control in CONTROLS
        if teacher and (group := next((one for one in groups if one.name == control), None))
    }
    return [
        Lead(column=column, by_control={name: _lead(found.get(name, {}), column) for name in CONTROLS})
        for column in judged_by(section)
    ]


def _lead(tasks: Mapping[str, Comparison], column: Column) -> float | None:
    one = tasks.get(column.name)
    return None if one is None else in_standard_errors(one.difference, one.standard_error)
