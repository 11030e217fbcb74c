"""Who is better, and how sure that is: students against SKILL, the teacher against controls, variants of a recipe."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from skill_bench.report.comparison.compare import verdict
from skill_bench.report.comparison.text import p_text
from skill_bench.report.render.layout import ABSENT
from skill_bench.report.statistics.interval import LEVEL, Interval
from skill_bench.report.statistics.paired import holm
from skill_bench.report.table.build import build
from skill_bench.report.table.collect import Collection
from skill_bench.report.table.quantities import PARAMETERS
from skill_bench.report.table.table import Section
from skill_bench.sweep.report.cells import bullets, cost, difference, grid, systems
from skill_bench.sweep.report.groups import Group, common_tasks, groups_of
from skill_bench.sweep.report.paired import Differences, differences, judged_by, tally

REFERENCE = "skill"
_HOW_DIFFERENCE = (
    "Points more than SKILL, error rates as 100 minus them, with 95 % intervals. Both systems are compared on the same "
    "test items (on whole speakers, where they are known and enough); the interval holds what other items and other "
    "distillation seeds would change, each student being the mean over its probe seeds. p: of the mean, after Holm for "
    f"the number of students; {ABSENT} for systems that were not distilled. The intervals are for their own cell, not "
    "corrected for the number of cells."
)
_HOW_LEAD = (
    "Points by which the teacher is better, error rates as 100 minus them, on the same test items; 95 % intervals over "
    "items and probe seeds. Decided: the interval does not hold 0. Both systems choose learning rates and checkpoints "
    "on dev."
)


def against_reference(section: Section, groups: Sequence[Group]) -> list[str]:
    """Every other row against SKILL, and a sentence for each student; empty without anything to compare."""
    reference = reference_of(groups)
    others = [group for group in groups if group is not reference]
    if reference is None or not others:
        return []
    found = {group.name: differences(section, reference, group) for group in others}
    judged = [g for g in others if g.is_student and found[g.name].mean is not None]
    p_values = dict(zip([g.name for g in judged], holm([_p(found[g.name]) for g in judged]), strict=True))
    rows = [
        [
            group.title,
            *_cells(section, found[group.name]),
            difference(found[group.name].mean),
            p_text(p_values[group.name]) if group.name in p_values else ABSENT,
        ]
        for group in others
    ]
    headings = ["system", *_headings(section), "mean", "p"]
    said = [
        _sentence(group, reference, found[group.name], p_values.get(group.name)) for group in others if group.is_student
    ]
    return [
        "## Against SKILL",
        grid(rows, headings),
        _HOW_DIFFERENCE,
        bullets(said) if said else "No other student to compare with.",
    ]


def teacher_against_controls(section: Section, groups: Sequence[Group]) -> list[str]:
    """The teacher against every system that was neither trained nor distilled; empty without one of both."""
    teacher = next((group for group in groups if group.is_teacher), None)
    controls = [group for group in groups if not group.is_student and group is not teacher]
    if teacher is None or not controls:
        return []
    leads = [differences(section, control, teacher) for control in controls]
    rows = [
        [control.title, *_cells(section, lead), tally(lead.tasks.values())]
        for control, lead in zip(controls, leads, strict=True)
    ]
    table = grid(rows, ["against", *_headings(section), "tasks"])
    return ["## The teacher against the controls", table, _HOW_LEAD]


def ablation(section: Section, collection: Collection, variants: Sequence[Group]) -> list[str]:
    """Variants of a recipe against SKILL, on the tasks that all of them have."""
    chosen, reference, variants = _of_common_tasks(section, collection, variants)
    ordered = sorted(variants, key=lambda group: (sorted(group.changes), group.name))
    found = {
        group.name: differences(chosen, reference, group)
        for group in ordered
        if reference is not None and group.recipe.get("name") == reference.name
    }
    means = {group.title: found[group.name].mean for group in ordered if group.name in found}
    decided = [f"{title}: {difference(mean)}" for title, mean in means.items() if mean and _is_decided(mean.interval)]

    def to_reference(group: Group) -> str:
        return difference(found[group.name].mean) if group.name in found else ABSENT

    shown = ordered if reference is None else [reference, *ordered]
    table = systems(chosen, shown, [("to SKILL", to_reference), cost(PARAMETERS), ("change", _changed)])
    how = (
        f"On {', '.join(chosen.tasks)}, which all of them have; each row below the first is the recipe with the one "
        "change that is named. To SKILL: the mean of all its seeds, as above; a row with one distillation seed varies "
        "by it as much as SKILL does."
    )
    if not found:
        return [table, how]
    if not decided:
        return [table, how, "No interval to SKILL excludes 0: this table does not tell any of the changes apart."]
    return [table, how, "Intervals that exclude 0, not corrected for the number of rows:", bullets(decided)]


def reference_of(groups: Sequence[Group]) -> Group | None:
    """The row that the others are held against."""
    return next((group for group in groups if group.name == REFERENCE), None)


def _of_common_tasks(
    section: Section, collection: Collection, variants: Sequence[Group]
) -> tuple[Section, Group | None, list[Group]]:
    """The section of the tasks that every variant has, so that all have a mean; its reference and its variants.

    Some tasks take so long that only the rows that matter most have them.
    """
    tasks = common_tasks(variants, section)
    again = build([collection.where(lambda record: record.key.task in tasks)], by_training=True).sections
    chosen = next((one for one in again if one.label == section.label), section)
    groups = groups_of(chosen)
    return chosen, reference_of(groups), [group for group in groups if group.is_ablation]


def _headings(section: Section) -> list[str]:
    return [column.label for column in judged_by(section)]


def _cells(section: Section, found: Differences) -> list[str]:
    return [difference(found.tasks.get(column.name)) for column in judged_by(section)]


def _p(found: Differences) -> float:
    assert found.mean is not None
    return found.mean.p_value


def _sentence(group: Group, reference: Group, found: Differences, p_value: float | None) -> str:
    if found.mean is None or p_value is None:
        return f"{group.title}: no mean of all tasks to compare."
    mean = found.mean
    said = verdict(
        mean.difference,
        mean.interval.low,
        mean.interval.high,
        shown=p_value < 1 - LEVEL,
        a=reference.title,
        b=group.title,
    )
    return f"{said} (p {p_text(p_value)})."


def _is_decided(interval: Interval) -> bool:
    return interval.low > 0 or interval.high < 0


def _changed(group: Group) -> str:
    return ", ".join(f"{key} {_value(before)} → {_value(after)}" for key, (before, after) in group.changes.items())


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
