"""Two systems of the table, task by task, on the test items that both were tested on; as text and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tabulate import tabulate

from skill_bench.base.errors import RecordError, UnknownName, UsageError, first_few
from skill_bench.base.escape import spreadsheet
from skill_bench.base.filled import COLUMNS, filled
from skill_bench.report.statistics.interval import LEVEL, Interval, enough_speakers
from skill_bench.report.statistics.paired import Comparison, Overall, compare, holm, overall
from skill_bench.report.statistics.sample import Sample, knows_speakers
from skill_bench.report.table.columns import Column
from skill_bench.report.table.entry import FoundRecord
from skill_bench.report.table.table import Section, SystemRow, Table
from skill_bench.report.table.telling import Lead, not_counted, why_not
from skill_bench.report.table.trainings import trained_once
from skill_bench.report.table.uncertainty import leads_of, predictions_of, repetitions

ONE_SEED = (
    "one seed: the test speaks of these trained probes; how much another training seed would change is not in it. "
    "Run with --seeds 3 or more to include it."
)

SYNTHETIC = "no mean: this is synthetic speech, which ranks nothing"
BY_SPEAKER = "tested over whole speakers, since utterances of one speaker are alike"
_COLUMNS = (
    "section", "a", "b", "task", "metric", "unit", "a_value", "b_value", "difference_points", "low_points",
    "high_points", "p_value", "p_value_holm", "units", "n_units", "a_n_seeds", "b_n_seeds", "method", "verdict",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class TaskComparison:
    """One task. ``p_holm`` is corrected for the tasks that count in the mean, or for all if this one does not count;
    ``verdict`` says it in words."""

    column: Column
    found: Comparison
    p_holm: float
    verdict: str


@dataclass(frozen=True, kw_only=True)
class SystemComparison:
    """``b`` beside ``a`` in one section.

    Attributes:
        section: Its label.
        a, b: Titles, told apart by origin where they are equal.
        measured: Where each was measured: by whom, on which machine, with which commit.
        tasks: The tasks that both have.
        mean: Over those of them that count; None where none does, on synthetic speech, and beside a single task.
        left_out: Names the others and says why they do not; None where all count, or nobody knows which do.
        level: Below which a corrected p-value is called a difference.
        notes: What could not be compared, and what the test does not cover.
    """

    section: str
    a: str
    b: str
    measured: tuple[str, str]
    tasks: tuple[TaskComparison, ...]
    mean: Overall | None
    left_out: str | None
    level: float
    notes: tuple[str, ...]


def compare_systems(table: Table, a: str, b: str, *, level: float = 1 - LEVEL) -> list[SystemComparison]:
    """Compares two systems in every section that holds both.

    Args:
        table: Measured sections are searched.
        a, b: ``[origin:]name[@hash]``: the name (or title) of a system, with ``run:`` or ``shipped:`` before it and the
            beginning of the model's hash behind it where the name alone fits several.
        level: Of the test, after Holm's correction over tasks.

    Raises:
        UnknownName: no measured system of that name.
        UsageError: a name fits several systems of one section, both are the same records, or no section holds both.
    """
    measured = [section for section in table.sections if section.source == "measured"]
    known = [row for section in measured for row in section.rows]
    for wanted in (a, b):
        if not any(_fits(row, wanted) for row in known):
            raise UnknownName("measured system", wanted, {row.system for row in known})
    pairs = [(section, _the_one(section, a), _the_one(section, b)) for section in measured]
    found = [_compare(section, one, other, level) for section, one, other in pairs if one and other]
    if not found:
        raise UsageError(
            f"{a!r} and {b!r} have no section in common: they were run on other suites, data, protocols or task "
            "versions. Run both with the same options."
        )
    return found


def compare_entries(
    column: Column,
    a: Sequence[FoundRecord],
    b: Sequence[FoundRecord],
    *,
    level: float = 1 - LEVEL,
    by_speaker: bool = False,
) -> Comparison:
    """``b`` beside ``a`` on one metric; the entries of each differ in their seeds alone.

    Where the entries of a system are of several models, trained with several seeds, what was repeated is that training:
    each model counts once, by the mean over its own entries; and so does another student beside it that was trained
    once, which another training would change as much.

    Args:
        level: Of the test.
        by_speaker: Whole speakers are swapped and drawn, where the predictions say who speaks and there are enough:
            the question is then what other speakers would show. By items it is what these speakers would.

    Raises:
        RecordError: predictions are missing or changed, or the test items differ.
    """
    ours, theirs = ([(entry, predictions_of(entry)) for entry in entries] for entries in (a, b))
    once = [trained_once(a, beside=b), trained_once(b, beside=a)]

    def samples(*, by_speaker: bool) -> list[dict[str, Sample]]:
        return [
            repetitions(found, column.metric, by_speaker=by_speaker, by_model=alone)
            for found, alone in zip((ours, theirs), once, strict=True)
        ]

    items = samples(by_speaker=False)
    if _units(items[0]) != _units(items[1]):
        raise RecordError(f"{a[0].file} and {b[0].file}: were tested on different items. Run one of them again.")
    if by_speaker and all(knows_speakers(rows, column.metric) for _, rows in (*ours, *theirs)):
        speakers = samples(by_speaker=True)
        if enough_speakers(_first(speakers[0])) and _units(speakers[0]) == _units(speakers[1]):
            return compare(*speakers, level=1 - level, units="speakers")
    return compare(*items, level=1 - level)


def verdict(difference: float, low: float, high: float, *, shown: bool, a: str, b: str) -> str:
    """The result in words; ``shown`` says whether the test found a difference.

    The ends of the interval are said only where they agree with the test: one that leaves out 0 beside a test that
    shows nothing (corrected for many tasks, or near its level) would say the opposite in the same sentence.
    """
    if shown:
        return f"{b} is {'better' if difference > 0 else 'worse'} than {a} by {abs(difference):.1f} points"
    if low > 0 or high < 0:
        return f"no difference shown: {a} and {b} are too close to call"
    sides = [side for end in (low, high) if (side := _side(end))]
    if not sides:
        return f"no difference shown: {a} and {b} are equal to a tenth of a point"
    return f"no difference shown: {b} may be {'up to ' if len(sides) == 1 else ''}{' to '.join(sides)}"


def measured(row: SystemRow) -> str:
    """``run here, on AMD EPYC, commit 0f832af4``; every machine and commit of its records."""
    found = [entry.record.provenance for entry in row.entries]
    machines = dict.fromkeys(", ".join(p.hardware.gpus or ()) or p.hardware.cpu_model or "unknown CPU" for p in found)
    commits = dict.fromkeys(
        f"commit {p.git.commit[:8]}{' with changes' if p.git.dirty else ''}"
        if p.git
        else f"version {p.skill_bench_version}"
        for p in found
    )
    origin = {"run": "run here", "shipped": "comes with skill-bench"}.get(row.origin, row.origin)
    return f"{origin}, measured on {' and '.join(machines)}, {first_few(commits, most=2)}"


def _compare(section: Section, a: SystemRow, b: SystemRow, level: float) -> SystemComparison:
    if a is b:
        raise UsageError(f"both names mean {a.title!r} ({a.origin}). Name two systems.")
    names = (a.title, b.title) if a.title != b.title else (f"{a.origin}:{a.title}", f"{b.origin}:{b.title}")
    found: list[tuple[Column, Comparison]] = []
    notes = []
    for column in section.judged:
        lacking = [name for name, row in zip(names, (a, b), strict=True) if column.name not in row.scores]
        if lacking:
            notes.append(f"{column.task}: left out, no result of {' and '.join(lacking)}")
            continue
        try:
            ours, theirs = a.entries_of(column), b.entries_of(column)
            found.append((column, compare_entries(column, ours, theirs, level=level, by_speaker=True)))
        except RecordError as error:
            notes.append(f"{column.task}: left out, {error}")
    leads = leads_of(section)
    aside = not_counted([column.task for column, _ in found], leads)
    corrected = _corrected([(column.task, one.p_value) for column, one in found], aside)
    tasks = tuple(
        TaskComparison(
            column=column,
            found=one,
            p_holm=p,
            verdict=verdict(
                one.difference, one.interval.low, one.interval.high, shown=p < level, a=names[0], b=names[1]
            ),
        )
        for (column, one), p in zip(found, corrected, strict=True)
    )
    if by_speaker := [f"{t.column.task} ({t.found.n_units})" for t in tasks if t.found.units == "speakers"]:
        notes.append(f"{BY_SPEAKER}: {', '.join(by_speaker)}")
    if once := [task.column.task for task in tasks if task.found.n_seeds == (1, 1)]:
        notes.append(ONE_SEED if len(once) == len(tasks) else f"{', '.join(once)}: {ONE_SEED}")
    by_task = {task.column.task: task.found for task in tasks}
    mean, left_out = (None, SYNTHETIC) if section.synthetic else _mean_of(by_task, aside, leads, level)
    return SystemComparison(
        section=section.label,
        a=names[0],
        b=names[1],
        measured=(measured(a), measured(b)),
        tasks=tasks,
        mean=mean,
        left_out=left_out,
        level=level,
        notes=tuple(notes),
    )


def _corrected(p_values: Sequence[tuple[str, float]], aside: Sequence[str]) -> list[float]:
    """Of tasks that count among themselves: what tells nothing costs them nothing. The others among all."""
    among_all = holm([p for _, p in p_values])
    counting = iter(holm([p for task, p in p_values if task not in aside]))
    return [p if task in aside else next(counting) for (task, _), p in zip(p_values, among_all, strict=True)]


def _mean_of(
    tasks: Mapping[str, Comparison], aside: Sequence[str], leads: Sequence[Lead], level: float
) -> tuple[Overall | None, str | None]:
    """Over the tasks that count; and a sentence that names the others and says why, if there are any."""
    counting = [found for task, found in tasks.items() if task not in aside]
    if len(tasks) == 1:
        return None, None
    mean = overall(counting, level=1 - level) if counting else None
    if not aside:
        return mean, None
    return mean, f"{'the mean leaves out' if mean else 'no mean, it would leave out'} {why_not(aside, leads)}"


def _first(samples: Mapping[str, Sample]) -> Sample:
    return next(iter(samples.values()))


def _units(samples: Mapping[str, Sample]) -> tuple[tuple[str, str], ...]:
    return _first(samples).units


def _the_one(section: Section, wanted: str) -> SystemRow | None:
    fitting = [row for row in section.rows if _fits(row, wanted)]
    if len({row.identity for row in fitting}) == 1:  # one model, run here and shipped: its own run is meant
        fitting = [row for row in fitting if row.origin == "run"][:1] or fitting
    if len(fitting) > 1:
        choices = ", ".join(f"{row.origin}:{row.system}@{(row.identity or '')[:8]}" for row in fitting)
        raise UsageError(f"{wanted!r} fits {len(fitting)} rows of {section.label}. Name one of: {choices}.")
    return fitting[0] if fitting else None


def _fits(row: SystemRow, wanted: str) -> bool:
    origin, colon, rest = wanted.partition(":")
    if colon and row.origin == origin and _fits(row, rest):
        return True
    name, _, beginning = wanted.partition("@")
    return wanted in (row.system, row.title) or (
        bool(beginning) and row.system == name and (row.identity or "").startswith(beginning)
    )


def _side(points: float) -> str:
    """Empty for less than a tenth of a point."""
    return f"{abs(points):.1f} points {'better' if points > 0 else 'worse'}" if round(points, 1) else ""


def to_text(found: SystemComparison) -> str:
    """Who is compared and where each was measured; numbers, a row a task; what they say in words; notes. 80 columns."""
    rows = [
        [
            task.column.heading,
            f"{task.found.a:.2f}",
            f"{task.found.b:.2f}",
            *_difference(task.found.difference, task.found.interval),
            p_text(task.found.p_value),
            p_text(task.p_holm),
        ]
        for task in found.tasks
    ]
    said = [f"{task.column.task}: {task.verdict}" for task in found.tasks]
    if (mean := found.mean) is not None:
        rows.append(["mean, points", "", "", *_difference(mean.difference, mean.interval), p_text(mean.p_value), ""])
        said.append(f"mean: {_verdict_of_mean(found, mean)}")
    headings = ["", "A", "B", "B minus A", f"{100 * (1 - found.level):g} % interval", "p", "p Holm"]
    align = ["left", *["right"] * 6]
    sides = [
        f"{side}: {name}, {where}" for side, name, where in zip("AB", (found.a, found.b), found.measured, strict=True)
    ]
    grid = tabulate(rows, headings, "simple", colalign=align, disable_numparse=True) if rows else "nothing to compare"
    notes = ["B minus A is in points, higher better: error rates count as 100 minus them."]
    notes += [*([] if found.left_out is None else [found.left_out]), *found.notes]
    blocks = [[found.section], sides, [grid], said, notes]
    return "\n\n".join("\n".join(_filled(block)) for block in blocks if block) + "\n"


def _filled(block: Sequence[str]) -> list[str]:
    """Lines that are too long, broken; tables stay as they are."""
    return [line if "\n" in line else filled(line, columns=COLUMNS, hanging=2) for line in block]


def _verdict_of_mean(found: SystemComparison, mean: Overall) -> str:
    shown = mean.p_value < found.level
    return verdict(mean.difference, mean.interval.low, mean.interval.high, shown=shown, a=found.a, b=found.b)


def rows_of(found: SystemComparison) -> list[dict[str, Any]]:
    """A row a task in full precision, then the mean where there is one; units in the names."""
    rows = [
        {
            "section": found.section,
            "a": found.a,
            "b": found.b,
            "task": task.column.task,
            "metric": task.column.metric,
            "unit": task.column.unit,
            "a_value": task.found.a,
            "b_value": task.found.b,
            "difference_points": task.found.difference,
            "low_points": task.found.interval.low,
            "high_points": task.found.interval.high,
            "p_value": task.found.p_value,
            "p_value_holm": task.p_holm,
            "units": task.found.units,
            "n_units": task.found.n_units,
            "a_n_seeds": task.found.n_seeds[0],
            "b_n_seeds": task.found.n_seeds[1],
            "method": task.found.method,
            "verdict": task.verdict,
        }
        for task in found.tasks
    ]
    return rows if found.mean is None else [*rows, dict.fromkeys(_COLUMNS) | _row_of_mean(found, found.mean)]


def _row_of_mean(found: SystemComparison, mean: Overall) -> dict[str, Any]:
    return {
        "section": found.section,
        "a": found.a,
        "b": found.b,
        "task": "mean",
        "metric": "mean",
        "unit": "points",
        "difference_points": mean.difference,
        "low_points": mean.interval.low,
        "high_points": mean.interval.high,
        "p_value": mean.p_value,
        "method": mean.interval.method,
        "verdict": _verdict_of_mean(found, mean),
    }


def to_csv(found: Sequence[SystemComparison]) -> str:
    """The rows of all sections, as text that no spreadsheet computes."""
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in (row for one in found for row in rows_of(one)):
        writer.writerow({name: spreadsheet(value) for name, value in row.items()})
    return text.getvalue()


def p_text(p: float) -> str:
    """Three digits; very small ones as a bound, since 10,000 permutations say no more."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _difference(difference: float, interval: Interval) -> list[str]:
    return [signed(difference, 2), f"[{signed(interval.low, 1)}, {signed(interval.high, 1)}]"]


def signed(value: float, digits: int) -> str:
    """With its sign; what rounds to zero is ``+0``."""
    return f"{round(value, digits) + 0.0:+.{digits}f}"  # adding 0 makes -0 a 0
