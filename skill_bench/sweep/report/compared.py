"""Task by task on the same items: every system against SKILL, the teacher against the controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from skill_bench.report.statistics.paired import Comparison
from skill_bench.report.table.table import Section
from skill_bench.sweep.report.cells import difference, grid
from skill_bench.sweep.report.groups import Group
from skill_bench.sweep.report.joint import REFERENCE
from skill_bench.sweep.report.paired import differences, judged_by, tally

_HOW_DIFFERENCE = (
    "Points more than SKILL, error rates as 100 minus them, with 95 % intervals over items (whole speakers, where they "
    "are known and enough) and distillation seeds, each student being the mean over its probe seeds. The intervals are "
    "for their own cell, not corrected for the number of cells."
)
_HOW_LEAD = (
    "Points by which the teacher is better, error rates as 100 minus them, on the same test items; 95 % intervals over "
    "items and probe seeds. Decided: the interval does not hold 0. Both systems choose learning rates and checkpoints "
    "on dev."
)


def against_reference(section: Section, groups: Sequence[Group]) -> list[str]:
    """Every other row against SKILL; empty without anything to compare."""
    reference = next((group for group in groups if group.name == REFERENCE), None)
    others = [group for group in groups if group is not reference]
    if reference is None or not others:
        return []
    rows = [[group.title, *_cells(section, differences(section, reference, group))] for group in others]
    return ["### Against SKILL", grid(rows, ["system", *_headings(section)]), _HOW_DIFFERENCE]


def teacher_against_controls(section: Section, groups: Sequence[Group]) -> list[str]:
    """The teacher against every system that was neither trained nor distilled; empty without one of both."""
    teacher = next((group for group in groups if group.is_teacher), None)
    controls = [group for group in groups if not group.is_student and group is not teacher]
    if teacher is None or not controls:
        return []
    leads = [differences(section, control, teacher) for control in controls]
    rows = [
        [control.title, *_cells(section, lead), tally(lead.values())]
        for control, lead in zip(controls, leads, strict=True)
    ]
    table = grid(rows, ["against", *_headings(section), "tasks"])
    return ["### The teacher against the controls", table, _HOW_LEAD]


def _headings(section: Section) -> list[str]:
    return [column.label for column in judged_by(section)]


def _cells(section: Section, found: Mapping[str, Comparison]) -> list[str]:
    return [difference(found.get(column.name)) for column in judged_by(section)]
