"""The students of a grid as data: rows over distillation seeds, two of them on the same items, what was changed."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from scipy import stats

from skill_bench.base.documents import parse_json
from skill_bench.base.escape import markdown_cell
from skill_bench.evaluation.task_files import is_trained
from skill_bench.report.comparison import compare_entries
from skill_bench.report.statistics.interval import LEVEL, Interval
from skill_bench.report.statistics.paired import Comparison
from skill_bench.report.table.columns import Column
from skill_bench.report.table.entry import FoundRecord
from skill_bench.report.table.table import Section, SystemRow

Recipe = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean, and its interval if it has one. ``values``: one for each independent repetition."""

    value: float
    values: tuple[float, ...]
    interval: Interval | None


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a row should have.

    Attributes:
        seeds: Of its distillations; None for a system that was not distilled.
        tasks: ``SUITE/TASK`` each, with ``probe_seeds`` and those that others have.
        corpora: On which its students are held against their teacher.
    """

    seeds: tuple[int | None, ...]
    tasks: tuple[str, ...]
    probe_seeds: tuple[int, ...] = (0,)
    corpora: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Group:
    """One line of the evidence: a student over its distillation seeds, or a system that was not distilled here.

    Attributes:
        rows: by distillation seed; {None: row} for a system without.
        recipe: that all its students share, without seeds; empty if not known.
        changes: what of ``recipe`` differs from the recipe of the row that is called like it, ``groups.n_groups`` ->
            (before, after); empty for that row itself.
    """

    name: str
    title: str
    rows: Mapping[int | None, SystemRow]
    recipe: Recipe
    changes: Mapping[str, tuple[Any, Any]]

    @property
    def is_ablation(self) -> bool:
        """Whether it is a variant of another group."""
        return bool(self.changes)

    @property
    def is_teacher(self) -> bool:
        """Whether it is the teacher of the others."""
        return any(entry.record.system.kind == "teacher" for row in self.rows.values() for entry in row.entries)

    @property
    def is_student(self) -> bool:
        """Whether it was distilled here, as opposed to a system that exists once."""
        return None not in self.rows

    @property
    def n_probe_seeds(self) -> tuple[int, int]:
        """The fewest and the most probe seeds that a cell has; of one without training all give the same."""
        cells = [cell for row in self.rows.values() for cell in row.scores.values()]
        trained = set(filter(is_trained, {cell.column.task for cell in cells}))
        counts = {len(cell.by_seed) for cell in cells if cell.column.task in trained} or {min(len(cells), 1)}
        return min(counts), max(counts)

    def metric(self, column: Column) -> Estimate | None:
        """Mean over distillation seeds of means over probe seeds; None without a value."""
        cells = {seed: row.scores[column.name] for seed, row in self.rows.items() if column.name in row.scores}
        # A model that is there once varies by its probes alone.
        by_probe = [value for cell in cells.values() for value in cell.by_seed.values()]
        once = self.is_student or not is_trained(column.task)
        return estimate_of([cell.value for cell in cells.values()] if once else by_probe)


def estimate_of(values: Sequence[float]) -> Estimate | None:
    """The mean of independent repetitions; None where there are none."""
    if not values:
        return None
    return Estimate(value=statistics.fmean(values), values=tuple(values), interval=mean_interval(values))


def groups_of(section: Section) -> list[Group]:
    """The section's rows, grouped, by name."""
    rows: dict[str, dict[int | None, SystemRow]] = defaultdict(dict)
    for row in section.rows:
        details = row.entries[-1].record.system.details if row.entries else {}
        name, seed = details.get("evidence_row"), details.get("distillation_seed")
        if isinstance(name, str) and isinstance(seed, int):
            rows[name][seed] = row
        else:
            rows[row.system][None] = row
    found = [_group(name, own) for name, own in rows.items()]
    by_name = {group.name: group for group in found}
    compared = [_with_changes(group, by_name.get(str(group.recipe.get("name")))) for group in found]
    return sorted(compared, key=lambda group: group.name)


def _group(name: str, rows: dict[int | None, SystemRow]) -> Group:
    ordered = dict(sorted(rows.items(), key=lambda item: -1 if item[0] is None else item[0]))
    first = next(iter(ordered.values()))
    title = first.title if None in ordered else first.title.partition(", seed ")[0]
    details = first.entries[-1].record.system.details if first.entries else {}
    return Group(name=name, title=markdown_cell(title), rows=ordered, recipe=recipe_of(details), changes={})


def recipe_of(details: Mapping[str, Any]) -> Recipe:
    """That a student's details hold; empty if they hold none."""
    text = details.get("recipe")
    try:
        content = parse_json(text) if isinstance(text, str) else {}
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _with_changes(group: Group, base: Group | None) -> Group:
    if base is None or base.name == group.name or not group.recipe:
        return group
    return replace(group, changes=changes_between(base.recipe, group.recipe))


def changes_between(before: Recipe, after: Recipe) -> dict[str, tuple[Any, Any]]:
    """``groups.n_groups`` -> (before, after); without seeds and names."""
    old, new = _flat(before), _flat(after)
    return {
        key: (old.get(key), new.get(key))
        for key in sorted({*old, *new})
        # An option that is off does not differ from one that did not exist yet.
        if (old.get(key) or None) != (new.get(key) or None)
        and key.rpartition(".")[2] not in ("seed", "name", "title", "source")
    }


def _flat(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def mean_interval(values: Sequence[float], *, level: float = LEVEL) -> Interval | None:
    """Student's t interval of the mean of independent ``values``; None for fewer than two.

    What is independent is the training: where a student is evaluated with several seeds, give its mean over them once.
    """
    n = len(values)
    if n < 2:
        return None
    half = float(stats.t.ppf(0.5 + level / 2, n - 1)) * statistics.stdev(values) / math.sqrt(n)
    mean = statistics.fmean(values)
    return Interval(low=mean - half, high=mean + half, level=level, method=f"Student's t over {n} values")


def judged_by(section: Section) -> list[Column]:
    """By which metric each task is judged, where it is one that counts in points."""
    return [column for column in section.judged if column.has_points]


def differences(section: Section, reference: Group, other: Group) -> Mapping[str, Comparison]:
    """``other`` minus ``reference``, both over all distillation and probe seeds: by column name, for shared tasks.

    Raises:
        RecordError: predictions are missing or changed, or were made on other test items.
    """
    found = {}
    for column in judged_by(section):
        ours, theirs = _entries(reference, column), _entries(other, column)
        if ours and theirs:
            found[column.name] = compare_entries(column, ours, theirs, by_speaker=True)
    return found


def tally(found: Iterable[Comparison]) -> str:
    """``ahead 3 (decided 2), behind 1 (decided 0)``: of the tasks that both have."""
    found = list(found)
    ahead, behind = ([one for one in found if sign * one.difference > 0] for sign in (1, -1))
    sure_ahead = sum(one.interval.low > 0 for one in ahead)
    sure_behind = sum(one.interval.high < 0 for one in behind)
    return f"ahead {len(ahead)} (decided {sure_ahead}), behind {len(behind)} (decided {sure_behind})"


def _entries(group: Group, column: Column) -> list[FoundRecord]:
    return [entry for row in group.rows.values() for entry in row.entries_of(column)]
