"""docs/evidence.md: every number from records, every absent one said to be absent."""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from skill_bench.base.counted import counted
from skill_bench.base.escape import markdown
from skill_bench.records.record import PERCENT
from skill_bench.records.similarity import LayerSimilarity
from skill_bench.report.render.heat_map import TITLES
from skill_bench.report.render.layout import ABSENT
from skill_bench.report.statistics.paired import Comparison
from skill_bench.report.table.build import build
from skill_bench.report.table.collect import Collection
from skill_bench.report.table.columns import Column
from skill_bench.report.table.quantities import MACS_SUPERB, PARAMETERS
from skill_bench.report.table.table import Section
from skill_bench.report.table.uncertainty import leads_of
from skill_bench.sweep.failed import Failed, still_failing
from skill_bench.sweep.report.cells import bullets, cost, difference, grid, systems
from skill_bench.sweep.report.choices import REFERENCE
from skill_bench.sweep.report.gaps import missing
from skill_bench.sweep.report.groups import Group, Wanted, differences, groups_of, judged_by, tally
from skill_bench.sweep.report.joint import Suite, ablation, counted_tasks, means, worth
from skill_bench.sweep.report.kept import kept
from skill_bench.sweep.report.readings import parts_of

_HOW = (
    "Mean [95 % interval]. A student's interval is Student's t over its distillation seeds, each averaged over the "
    "probe seeds; that of a system which exists once is over its probe seeds. ↑ higher is better, ↓ lower is better. "
    f"{ABSENT}: not there. Seeds: distillation x probe."
)
_HOW_RATES = (
    "How often each learning rate was the best on dev, over all seeds: how well a system does goes with it, and it is "
    "part of what is compared."
)
_FLOOR_POINTS = 10.0
"""Below which no system's points tell much of it."""
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


def write_up(
    collection: Collection,
    *,
    similarity: LayerSimilarity | None,
    figures: Sequence[Path] = (),
    command: str,
    title: str = "Evidence",
    design: str | None = None,
    expected: Mapping[str, Wanted] | None = None,
    same: Mapping[str, str] | None = None,
    failed: Sequence[Failed] = (),
) -> str:
    """The whole page as Markdown.

    Args:
        collection: the records.
        figures: of ``similarity``, as the page should name them.
        command: that makes this page again.
        title: its heading.
        design: what was decided before the first result, as Markdown.
        expected: what should be there, by row, see :func:`skill_bench.sweep.report.gaps.missing`.
        same: rows that were not distilled, and the row whose students theirs would be.
        failed: students that could not be made or measured; those that were since are passed over.

    Raises:
        RecordError: predictions of a record are missing or changed, or were made on other test items.
    """
    table = build([collection], by_training=True)
    sections = table.sections
    readings = parts_of(collection.fidelity, collection.records)
    held = f" and {counted(len(collection.fidelity), 'measurement')} of fidelity" if readings else ""
    parts = [
        f"# {markdown(title)}",
        f"Written from {counted(len(collection.records), 'record')}{held} by `{command}`. "
        "Nothing here is typed by hand.",
    ]
    if design:
        parts += ["## Decided beforehand", design.strip()]
    parts += kept(readings)
    suites = [_suite(section) for section in sections]
    if suites:
        parts += [*counted_tasks(suites), *means(suites), *ablation(suites)]
        parts += [text for part in readings for text in worth(part, suites)]
    else:
        parts.append("No task has been recorded." if readings else "There are no records yet.")
    if same:
        parts.append(
            bullets([f"{a} finds the groups of {b}: the same student, not distilled." for a, b in same.items()])
        )
    for suite in suites:
        parts += _section(suite)
    absent = missing(suites, expected, parts=readings, failed=still_failing(failed, collection))
    parts += ["## Missing", bullets(absent) if absent else "Nothing: every row has every task, corpus and seed."]
    parts += _layers(similarity, figures)
    if collection.records:
        parts += ["## The code behind the records", _commits(collection)]
    if table.problems:
        parts += ["## Files that could not be used", bullets([markdown(problem) for problem in table.problems])]
    return "\n\n".join(parts) + "\n"


def _suite(section: Section) -> Suite:
    groups = groups_of(section)
    return Suite(section=section, groups={group.name: group for group in groups}, leads=leads_of(section))


def _section(suite: Suite) -> list[str]:
    section = suite.section
    main, variants = ([g for g in suite.groups.values() if g.is_ablation == wanted] for wanted in (False, True))
    parts = [f"## Systems: {section.label}", *(["The speech is synthetic."] if section.synthetic else [])]
    parts += [systems(section, [*main, *variants], [cost(PARAMETERS), cost(MACS_SUPERB)]), _HOW]
    parts += _floors(section, main)
    parts += against_reference(section, main)
    parts += teacher_against_controls(section, main)
    return [*parts, "### Learning rates chosen", _rates(section, main), _HOW_RATES]


def _floors(section: Section, groups: Sequence[Group]) -> list[str]:
    """A sentence for each task that is too hard for everybody; only of per cents is it known what is hard."""
    said = []
    for column in section.judged:
        found = [estimate.value for group in groups if (estimate := group.metric(column)) is not None]
        best = max(found, key=column.points, default=None)
        if best is not None and column.unit == PERCENT and column.points(best) < _FLOOR_POINTS:
            beside = [c.label for c in section.shown if c.task == column.task and c is not column]
            said.append(
                f"{column.label} is {best:.1f} at best: too hard for every system here, so "
                f"that it hardly tells them apart.{f' {beside[0]} tells more.' if beside else ''}"
            )
    return said


def _rates(section: Section, groups: Sequence[Group]) -> str:
    rows = [[group.title, *(_rates_of(group, column) for column in section.judged)] for group in groups]
    tested = []
    for column in section.judged:
        entries = [entry for g in groups for row in g.rows.values() for entry in row.entries_of(column)]
        sizes = [entry.record.data.n_test for entry in entries if entry.record.data is not None]
        tested.append(str(statistics.mode(sizes)) if sizes else ABSENT)
    return grid([*rows, ["test items", *tested]], ["system", *(column.task.upper() for column in section.judged)])


def _rates_of(group: Group, column: Column) -> str:
    """``0.01 x 7, 0.001 x 2``; of a task with folds, each fold's."""
    counts: Counter[float] = Counter()
    for entry in (entry for row in group.rows.values() for entry in row.entries_of(column)):
        if (selection := entry.record.selection) is not None:
            single = [] if selection.learning_rate is None else [selection.learning_rate]
            counts.update(selection.per_fold.values() or single)
    return ", ".join(f"{rate:g} x {n}" for rate, n in counts.most_common()) or ABSENT


def _commits(collection: Collection) -> str:
    counts: Counter[str] = Counter()
    for record in collection.records:
        git = record.provenance.git
        counts["no repository" if git is None else git.commit[:10] + (", changed" if git.dirty else "")] += 1
    listed = ", ".join(f"{name} ({n})" for name, n in counts.most_common())
    return f"Commits, with the number of records: {listed}. *changed*: with changes that were not committed."


def _layers(found: LayerSimilarity | None, figures: Sequence[Path]) -> list[str]:
    parts = ["## Layers of the teacher"]
    if found is None:
        return [*parts, "No similarity of its layers has been recorded."]
    asked_for = found.n_groups if found.n_groups == "auto" else counted(found.n_groups, "group")
    parts.append(
        f"{counted(found.n_utterances, 'utterance')}, {found.audio_seconds / 60:.1f} minutes; linkage {found.linkage}, "
        f"{'neighbouring clusters only' if found.contiguous else 'any clusters'}, "
        f"{asked_for} asked for. Checkpoint sha256 `{found.checkpoint_sha256}`."
    )
    rows = [[TITLES[one.measure], json.dumps([list(group) for group in one.groups])] for one in found.measures]
    parts.append(grid(rows, ["measure", "groups of hidden states"]))
    return parts + [f"![{path.stem}]({path.as_posix()})" for path in figures if path.suffix == ".svg"]


def against_reference(section: Section, groups: Sequence[Group]) -> list[str]:
    """Every other row against SKILL; empty without anything to compare."""
    reference = next((group for group in groups if group.name == REFERENCE), None)
    others = [group for group in groups if group is not reference]
    if reference is None or not others:
        return []
    rows = [[group.title, *_in_cells(section, differences(section, reference, group))] for group in others]
    return ["### Against SKILL", grid(rows, ["system", *_headings(section)]), _HOW_DIFFERENCE]


def teacher_against_controls(section: Section, groups: Sequence[Group]) -> list[str]:
    """The teacher against every system that was neither trained nor distilled; empty without one of both."""
    teacher = next((group for group in groups if group.is_teacher), None)
    controls = [group for group in groups if not group.is_student and group is not teacher]
    if teacher is None or not controls:
        return []
    leads = [differences(section, control, teacher) for control in controls]
    rows = [
        [control.title, *_in_cells(section, lead), tally(lead.values())]
        for control, lead in zip(controls, leads, strict=True)
    ]
    table = grid(rows, ["against", *_headings(section), "tasks"])
    return ["### The teacher against the controls", table, _HOW_LEAD]


def _headings(section: Section) -> list[str]:
    return [column.label for column in judged_by(section)]


def _in_cells(section: Section, found: Mapping[str, Comparison]) -> list[str]:
    return [difference(found.get(column.name)) for column in judged_by(section)]
