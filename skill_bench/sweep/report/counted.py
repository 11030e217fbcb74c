"""Which tasks count: those on which the teacher is ahead of what learnt nothing. The others are shown, not averaged."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from skill_bench.report.statistics.paired import Comparison
from skill_bench.report.table.columns import Column
from skill_bench.report.table.table import Section
from skill_bench.sweep.report.groups import Group
from skill_bench.sweep.report.paired import differences, judged_by

CONTROLS = ("random", "logmel")
"""An untrained encoder and a filter bank; the teacher must be ahead of both."""
STANDARD_ERRORS = 3.0


@dataclass(frozen=True, kw_only=True)
class Lead:
    """By how many standard errors the teacher is ahead of each control on one task; None: not compared."""

    column: Column
    by_control: Mapping[str, float | None]

    @property
    def counts(self) -> bool:
        """Whether the task is one that is averaged."""
        return all(lead is not None and lead >= STANDARD_ERRORS for lead in self.by_control.values())


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
    if one is None:
        return None
    if one.standard_error == 0:
        return math.copysign(math.inf, one.difference) if one.difference else 0.0
    return one.difference / one.standard_error
