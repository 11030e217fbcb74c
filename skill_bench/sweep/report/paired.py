"""Two groups of a grid on the same test items, task by task, over items and seeds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from skill_bench.report.comparison import compare_entries
from skill_bench.report.statistics.paired import Comparison
from skill_bench.report.table.columns import Column
from skill_bench.report.table.entry import FoundRecord
from skill_bench.report.table.table import Section
from skill_bench.sweep.report.groups import Group


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
