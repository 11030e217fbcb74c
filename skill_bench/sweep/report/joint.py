"""The mean over the tasks that count, of all suites together: who is ahead by it, and what each choice is worth."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from scipy import stats

from skill_bench.evaluation.task_files import is_trained
from skill_bench.report.comparison import p_text, verdict
from skill_bench.report.render.layout import ABSENT
from skill_bench.report.statistics.interval import LEVEL
from skill_bench.report.statistics.paired import Comparison, Overall, holm_by_name, overall
from skill_bench.report.table.columns import Column
from skill_bench.report.table.quantities import PARAMETERS
from skill_bench.report.table.table import Score, Section
from skill_bench.report.table.telling import RULE, Lead
from skill_bench.sweep.report.cells import bullets, changed, cost, difference, estimate, grid, seeds
from skill_bench.sweep.report.choices import REFERENCE, Measure, by_number_of_groups, by_sparsity
from skill_bench.sweep.report.groups import Estimate, Group, differences, estimate_of
from skill_bench.sweep.report.readings import Part

_FEWEST_ROWS = 5
_HUNDREDTH = 0.01

_HOW = (
    "Mean of points (error rates as 100 minus them) over the tasks that count [95 % interval], only where none is "
    "missing. A student's interval is Student's t over its distillation seeds, each averaged over the probe seeds; "
    "that of a system which exists once is over its probe seeds. To SKILL: on the same test items (on whole speakers, "
    "where they are known and enough); the interval holds what other items and other distillation seeds would change. "
    f"p: after Holm for the number of students; {ABSENT}: was not distilled. Seeds: distillation x probe."
)

_HOW_WORTH = (
    "Points for .01 more of whitened R2: a line of least squares [95 %]; Spearman's rank correlation. Rows count as "
    "independent, though some differ in one option alone."
)
_OTHER_DEPTH = (
    " Of students that have not as many layers as their teacher, each of its layers is predicted from one that they "
    "have: a single such row can give the line of all."
)


@dataclass(frozen=True, kw_only=True)
class Suite:
    """One table, its groups by name, and by how much the teacher leads on each task."""

    section: Section
    groups: Mapping[str, Group]
    leads: Sequence[Lead]

    @property
    def counted(self) -> list[Column]:
        """Of the tasks that are averaged: none where nobody knows, since what is averaged here is a claim."""
        return [lead.column for lead in self.leads if lead.counts]


def counted_tasks(suites: Sequence[Suite]) -> list[str]:
    """Which tasks count, and why."""
    lines = [
        f"{suite.section.suite} {lead.column.label}: {lead}: {'counts' if lead.counts else 'does not count'}"
        for suite in suites
        for lead in suite.leads
    ]
    return ["## Tasks that count", RULE, "Standard errors by which the teacher leads:", bullets(lines)]


def means(suites: Sequence[Suite]) -> list[str]:
    """The means over them, and a sentence for each student beside SKILL."""
    heading = "## The mean over the tasks that count"
    if not any(suite.counted for suite in suites):
        return [heading, "No task counts, so there is no mean."]
    names = _names(suites, ablation=False)
    found = {name: mean(suites, name) for name in names}
    names.sort(key=lambda name: (found[name] is None, -(one.value if (one := found[name]) else 0.0), name))
    against = {name: one for name in names if name != REFERENCE and (one := between(suites, REFERENCE, name))}
    judged = [name for name in against if _first(suites, name).is_student]
    p_values = holm_by_name({name: against[name].p_value for name in judged})
    rows = [
        [
            _first(suites, name).title,
            estimate(found[name]),
            difference(against.get(name)),
            p_text(p_values[name]) if name in p_values else ABSENT,
            seeds(_first(suites, name)),
        ]
        for name in names
    ]
    said = [_sentence(_first(suites, name), against[name], p_values[name], suites) for name in judged]
    return [
        heading,
        grid(rows, ["system", "mean ↑", "to SKILL", "p", "seeds"]),
        _HOW,
        *([bullets(said)] if said else []),
    ]


def ablation(suites: Sequence[Suite]) -> list[str]:
    """Variants of a recipe against SKILL, on the tasks that count and that all of them have.

    One that has none of them is not shown: it would take the tasks from all others.
    """
    names = _names(suites, ablation=True)
    if not names:
        return ["## Ablation", "No variants of a recipe have been recorded."]
    names = [name for name in names if any(_has_one(suite, name) for suite in suites)]
    names.sort(key=lambda name: (sorted(_first(suites, name).changes), name))
    shared = [_of_tasks_of_all(suite, [*names, REFERENCE]) for suite in suites]
    tasks = [f"{suite.section.suite} {column.task}" for suite in shared for column in suite.counted]
    if not tasks:
        return ["## Ablation", "The variants of the recipe share no task that counts; fidelity compares them."]
    against = {
        name: one
        for name in names
        if _first(suites, name).recipe.get("name") == REFERENCE and (one := between(shared, REFERENCE, name))
    }
    shown = [REFERENCE, *names] if any(REFERENCE in suite.groups for suite in suites) else names
    heading, parameters = cost(PARAMETERS)
    rows = [
        [
            (group := _first(suites, name)).title,
            estimate(mean(shared, name)),
            difference(against.get(name)),
            seeds(group),
            parameters(group),
            changed(group.changes),
        ]
        for name in shown
    ]
    decided = [
        f"{_first(suites, name).title}: {difference(one)}"
        for name, one in against.items()
        if one.interval.low > 0 or one.interval.high < 0
    ]
    how = (
        f"On {', '.join(tasks)}, which count and which all of them have; each row below the first is the recipe with "
        f"the change that is named. To SKILL: changes of SKILL alone ({ABSENT}: of another recipe). A row with one "
        "distillation seed varies by it as much as SKILL does."
    )
    parts = ["## Ablation", grid(rows, ["system", "mean ↑", "to SKILL", "seeds", heading, "change"]), how]
    if against and not decided:
        parts.append("No interval to SKILL excludes 0: this table does not tell any of the changes of SKILL apart.")
    elif decided:
        parts += ["Intervals that exclude 0, not corrected for the number of rows:", bullets(decided)]
    measure = _measure(shared, [*_names(suites, ablation=False), *names], tasks)
    return [*parts, *by_number_of_groups(measure), *by_sparsity(measure)]


def _measure(suites: Sequence[Suite], names: Sequence[str], tasks: Sequence[str]) -> Measure:
    """The mean over the tasks of ``suites`` that count."""
    return Measure(
        what=f"Points on {', '.join(tasks)}",
        rows={name: group for name in names if (group := _first(suites, name)).is_student},
        estimate=lambda name: mean(suites, name),
        against=lambda reference, name: between(suites, reference, name),
        decimals=1,
        verb="scores",
    )


def worth(part: Part, suites: Sequence[Suite]) -> list[str]:
    """What goes with keeping more of the teacher on the tasks that count and that all students of a line have."""
    every = [name for name in part.rows if any(_has_one(suite, name) for suite in suites)]
    others = {name for name in every if part.rows[name].other_layers}
    choices = {
        "all": every,
        "at their recipe's sparsity": [name for name in every if "sparsity.target" not in part.rows[name].changes],
        "recipes": [name for name in every if not part.rows[name].changes],
    }
    if others:
        choices |= {
            f"{who}, with the teacher's layers": [name for name in names if name not in others]
            for who, names in choices.items()
        }
    lines: dict[tuple[frozenset[str], str], list[str]] = {}
    for who, names in choices.items():
        shared = [_of_tasks_of_all(suite, names) for suite in suites]
        tasks = ", ".join(f"{suite.section.suite} {column.task}" for suite in shared for column in suite.counted)
        points = {
            name: (kept.value, scored.value)
            for name in names
            if (kept := part.rows[name].whitened(part.corpora)) is not None
            and (scored := mean(shared, name)) is not None
        }
        if len(points) >= _FEWEST_ROWS and len({x for x, _ in points.values()}) > 1:
            found = [who, f"{len(points)}", tasks, *_line(list(points.values()))]
            # What has neither other rows nor other tasks is no line of its own.
            lines.setdefault((frozenset(points), tasks), found)
    if not lines:
        return []
    headings = ["students", "rows", "tasks", "points for .01 more", "rank correlation", "p"]
    table = grid(list(lines.values()), headings)
    return ["## What keeping more goes with on tasks", table, _HOW_WORTH + (_OTHER_DEPTH if others else "")]


def _line(points: Sequence[tuple[float, float]]) -> list[str]:
    """Of (kept, points) each: slope, Spearman's correlation and its p."""
    line, rank = stats.linregress(*zip(*points, strict=True)), stats.spearmanr(points)
    half = float(stats.t.ppf(0.5 + LEVEL / 2, len(points) - 2)) * line.stderr
    slope, low, high = (_HUNDREDTH * value for value in (line.slope, line.slope - half, line.slope + half))
    return [f"{slope:+.2f} [{low:+.2f}, {high:+.2f}]", f"{rank.statistic:+.2f}", p_text(float(rank.pvalue))]


def mean(suites: Sequence[Suite], name: str) -> Estimate | None:
    """Of the trainings that have every task that counts; None if none has."""
    counting = [suite for suite in suites if suite.counted]
    own = [(suite, suite.groups[name]) for suite in counting if name in suite.groups]
    if not own or len(own) < len(counting):
        return None
    trained = set.intersection(*(set(group.rows) for _, group in own))
    trainings = [scores for seed in trained if (scores := _scores(own, seed)) is not None]
    if not trainings:
        return None
    if own[0][1].is_student:
        return estimate_of([statistics.fmean(one.points for one in scores) for scores in trainings])
    # A system that is there once varies by its probes alone.
    (scores,) = trainings
    seeds_of = [set(one.by_seed) for one in scores if is_trained(one.column.task)]
    if not seeds_of:
        return estimate_of([statistics.fmean(one.points for one in scores)])
    probes = sorted(set.intersection(*seeds_of))
    by_probe = [[one.column.points(one.by_seed.get(seed, one.value)) for one in scores] for seed in probes]
    return estimate_of([statistics.fmean(points) for points in by_probe])


def between(suites: Sequence[Suite], reference: str, name: str) -> Overall | None:
    """Row ``name`` minus ``reference`` in the mean over the tasks that count; None where one of them is missing."""
    found: list[Comparison] = []
    for suite in suites:
        if not suite.counted:
            continue
        if not {name, reference} <= suite.groups.keys():
            return None
        tasks = differences(suite.section, suite.groups[reference], suite.groups[name])
        if any(column.name not in tasks for column in suite.counted):
            return None
        found += [tasks[column.name] for column in suite.counted]
    return overall(found) if found else None


def _names(suites: Sequence[Suite], *, ablation: bool) -> list[str]:
    groups = (group for suite in suites for group in suite.groups.values())
    return list(dict.fromkeys(group.name for group in groups if group.is_ablation == ablation))


def _first(suites: Sequence[Suite], name: str) -> Group:
    return next(suite.groups[name] for suite in suites if name in suite.groups)


def _has_one(suite: Suite, name: str) -> bool:
    """Whether all trainings of the row have a task that counts."""
    rows = suite.groups[name].rows.values() if name in suite.groups else ()
    return bool(rows) and any(all(column.name in row.scores for row in rows) for column in suite.counted)


def _of_tasks_of_all(suite: Suite, names: Sequence[str]) -> Suite:
    """Some tasks take so long that only the rows that matter most have them."""
    rows = [row for name in names if name in suite.groups for row in suite.groups[name].rows.values()]
    has_all = all(name in suite.groups for name in names)
    leads = [lead for lead in suite.leads if has_all and all(lead.column.name in row.scores for row in rows)]
    return replace(suite, leads=leads)


def _scores(own: Sequence[tuple[Suite, Group]], seed: int | None) -> list[Score] | None:
    """One training on every task that counts; None where one is missing."""
    wanted = [(group.rows[seed], column.name) for suite, group in own for column in suite.counted]
    return [row.scores[name] for row, name in wanted] if all(name in row.scores for row, name in wanted) else None


def _sentence(group: Group, found: Overall, p_value: float, suites: Sequence[Suite]) -> str:
    said = verdict(
        found.difference,
        found.interval.low,
        found.interval.high,
        shown=p_value < 1 - LEVEL,
        a=_first(suites, REFERENCE).title,
        b=group.title,
    )
    return f"{said} (p {p_text(p_value)})."
