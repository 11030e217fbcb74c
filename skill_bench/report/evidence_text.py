"""docs/evidence.md: every number from records, every absent one said to be absent."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tabulate import tabulate

from skill_bench.layer_similarity import LayerSimilarity
from skill_bench.report.build import build
from skill_bench.report.collect import Collection
from skill_bench.report.evidence import Estimate, Group, Wanted, common_tasks, difference, groups_of, missing
from skill_bench.report.evidence_teacher import compared_tasks, is_teacher, lead, tally
from skill_bench.report.heat_map import TITLES
from skill_bench.report.layout import ABSENT
from skill_bench.report.table import Section

REFERENCE = "skill"
_HOW = (
    "Mean [95 % interval]. A student's interval is Student's t over its distillation seeds, each averaged over the "
    "probe seeds; that of a system which exists once is over its probe seeds. ↑ higher is better, ↓ lower is better. "
    f"mean: over the tasks, error rates as 100 minus them, only where no task is missing. {ABSENT}: not there. "
    "Seeds: distillation x probe."
)
_HOW_DIFFERENCE = (
    "Difference of the means in points, over the distillation seeds that both have; Welch's 95 % interval. An interval "
    "that holds 0 decides nothing; without an interval there are too few seeds to tell. Each interval is for its own "
    "row, not corrected for the number of rows."
)


_HOW_LEAD = (
    "Points by which the teacher is better, error rates as 100 minus them, with Welch's 95 % interval over the probe "
    "seeds of both. Ahead: tasks on which its mean is better; decided: those whose interval lies above 0. Both systems "
    "choose learning rates and checkpoints on dev."
)


def write_up(
    collection: Collection,
    *,
    similarity: LayerSimilarity | None,
    figures: Sequence[Path] = (),
    command: str,
    expected: Mapping[str, Wanted] | None = None,
    same: Mapping[str, str] | None = None,
) -> str:
    """The whole page as Markdown.

    Args:
        collection: the records.
        figures: of ``similarity``, as the page should name them.
        command: that makes this page again.
        expected: what should be there, by row, see :func:`skill_bench.report.evidence.missing`.
        same: rows that were not distilled, and the row whose students theirs would be.
    """
    sections = build([collection]).sections
    parts = [
        "# Evidence",
        f"Written from {len(collection.records)} records by `{command}`. Nothing here is typed by hand.",
    ]
    if not sections:
        parts.append("There are no records yet.")
    for section in sections:
        parts += _section(section, collection, expected, same or {}, several=len(sections) > 1)
    parts += _layers(similarity, figures)
    if collection.problems:
        parts += ["## Files that could not be used", _bullets(collection.problems)]
    return "\n\n".join(parts) + "\n"


def _section(
    section: Section,
    collection: Collection,
    expected: Mapping[str, Wanted] | None,
    same: Mapping[str, str],
    *,
    several: bool,
) -> list[str]:
    groups = groups_of(section)
    main, ablations = ([g for g in groups if g.is_ablation == wanted] for wanted in (False, True))
    parts = [f"## Systems{f': {section.label}' if several else ''}"]
    parts.append(f"Suite {section.label}.{' The speech is synthetic.' if section.synthetic else ''}")
    parts += [_table(section, main, [("params M", _parameters), ("MACs G", _macs)]), _HOW]
    reference = _reference(groups)
    others = [g for g in main if g is not reference]
    if reference is not None and others:
        parts += ["## Against SKILL", _differences(reference, others), _HOW_DIFFERENCE, _verdict(reference, others)]
    parts += _teacher(section, main)
    parts.append("## Ablation")
    if ablations:
        parts += _ablation(*_of_common_tasks(section, collection, ablations))
    else:
        parts.append("No variants of a recipe have been recorded.")
    if same:
        parts.append(
            _bullets([f"{a} finds the groups of {b}: the same student, not distilled." for a, b in same.items()])
        )
    absent = missing(section, groups, expected)
    parts += ["## Missing", _bullets(absent) if absent else "Nothing: every row has every task and seed."]
    return parts


def _table(section: Section, groups: Sequence[Group], more: Sequence[tuple[str, Callable[[Group], str]]]) -> str:
    headings = ["system", *(c.heading for c in section.shown), "mean ↑", "seeds", *(heading for heading, _ in more)]
    rows = [
        [
            group.title,
            *(_text(group.metric(column)) for column in section.shown),
            _text(group.mean_points()),
            _seeds(group),
            *(text(group) for _, text in more),
        ]
        for group in groups
    ]
    return _grid(rows, headings)


def _reference(groups: Sequence[Group]) -> Group | None:
    return next((group for group in groups if group.name == REFERENCE), None)


def _of_common_tasks(
    section: Section, collection: Collection, ablations: Sequence[Group]
) -> tuple[Section, Group | None, list[Group]]:
    """The section of the tasks that every variant has, so that all have a mean; its reference and its variants.

    Some tasks take so long that only the rows that matter most have them.
    """
    tasks = common_tasks(ablations, section)
    entries = tuple(entry for entry in collection.entries if entry.record.key.task in tasks)
    again = build([replace(collection, entries=entries)]).sections
    chosen = next((one for one in again if one.label == section.label), section)
    groups = groups_of(chosen)
    reference = _reference(groups)
    return chosen, reference, [group for group in groups if group.is_ablation]


def _ablation(section: Section, reference: Group | None, groups: Sequence[Group]) -> list[str]:
    def changed(group: Group) -> str:
        return ", ".join(f"{key} {_value(before)} → {_value(after)}" for key, (before, after) in group.changes.items())

    def against(group: Group) -> str:
        base = group.recipe.get("name")
        found = difference(reference, group) if reference is not None and base == reference.name else None
        return _text(found, signed=True)

    ordered = sorted(groups, key=lambda g: (sorted(g.changes), g.name))
    more: list[tuple[str, Callable[[Group], str]]] = [
        ("to SKILL", against), ("params M", _parameters), ("change", changed),
    ]  # fmt: skip
    return [
        _table(section, ordered, more),
        f"Each row is the recipe with the one change that is named, on {', '.join(section.tasks)}, which all of them "
        "have; differences as above.",
    ]


def _teacher(section: Section, groups: Sequence[Group]) -> list[str]:
    """The teacher against every system that was neither trained nor distilled."""
    teacher = next((group for group in groups if is_teacher(group)), None)
    controls = [group for group in groups if None in group.rows and group is not teacher]
    if teacher is None or not controls:
        return []
    columns = compared_tasks(section)
    rows = []
    for control in controls:
        leads = [lead(teacher, control, column) for column in columns]
        rows.append([control.title, *(_text(one, signed=True) for one in leads), tally(leads)])
    table = _grid(rows, ["against", *(column.heading[:-2] for column in columns), "ahead"])
    return ["## The teacher against the controls", table, _HOW_LEAD]


def _differences(reference: Group, others: Sequence[Group]) -> str:
    rows = [[group.title, _text(difference(reference, group), signed=True)] for group in others]
    return _grid(rows, ["system", "points more than SKILL"])


def _verdict(reference: Group, others: Sequence[Group]) -> str:
    """One sentence a student that was distilled from the same teacher."""
    said = []
    for group in others:
        if None in group.rows:
            continue
        found = difference(reference, group)
        if found is None:
            said.append(f"{group.title}: no mean of all tasks to compare.")
        elif found.interval is None:
            said.append(f"{group.title}: {found.value:+.1f} points, from too few seeds for an interval.")
        elif found.interval.low > 0:
            said.append(f"{group.title} is better than SKILL by {found.value:.1f} points.")
        elif found.interval.high < 0:
            said.append(f"SKILL is better than {group.title} by {-found.value:.1f} points.")
        else:
            said.append(f"SKILL and {group.title}: {found.value:+.1f} points, undecided.")
    return _bullets(said) if said else "No other student to compare with."


def _layers(found: LayerSimilarity | None, figures: Sequence[Path]) -> list[str]:
    parts = ["## Layers of the teacher"]
    if found is None:
        return [*parts, "No similarity of its layers has been recorded."]
    parts.append(
        f"{found.n_utterances} utterances, {found.audio_seconds / 60:.1f} minutes; linkage {found.linkage}, "
        f"{'neighbouring clusters only' if found.contiguous else 'any clusters'}, "
        f"{found.n_groups} groups asked for. Checkpoint sha256 `{found.checkpoint_sha256}`."
    )
    rows = [[TITLES[one.measure], json.dumps([list(group) for group in one.groups])] for one in found.measures]
    parts.append(_grid(rows, ["measure", "groups of hidden states"]))
    return parts + [f"![{path.stem}]({path.as_posix()})" for path in figures if path.suffix == ".svg"]


def _text(found: Estimate | None, *, signed: bool = False) -> str:
    if found is None:
        return ABSENT
    sign = "+" if signed else ""
    text = f"{found.value:{sign}.1f}"
    return (
        text if found.interval is None else f"{text} [{found.interval.low:{sign}.1f}, {found.interval.high:{sign}.1f}]"
    )


def _seeds(group: Group) -> str:
    fewest, most = group.n_probe_seeds
    probes = f"{most}" if fewest == most else f"{fewest}–{most}"
    return f"{ABSENT if None in group.rows else len(group.rows)} x {probes}"


def _parameters(group: Group) -> str:
    return _spread([row.costs.parameters_millions for row in group.rows.values()], 2)


def _macs(group: Group) -> str:
    return _spread([row.costs.macs_superb_giga for row in group.rows.values()], 1)


def _spread(values: Sequence[float | None], digits: int) -> str:
    texts = sorted({f"{value:.{digits}f}" for value in values if value is not None}, key=float)
    return ABSENT if not texts else texts[0] if len(texts) == 1 else f"{texts[0]}–{texts[-1]}"


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _grid(rows: Sequence[Sequence[str]], headings: Sequence[str]) -> str:
    return tabulate(rows, headings, "github", disable_numparse=True)


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)
