"""How sure the numbers of whole rows are: intervals of the mean and of what is kept of the teacher, shared ranks.

Ranks are shared by what the paired test of the mean does not tell apart. "Not told apart" alone is no order (A may be
like B, and B like C, but not A like C), so the rule goes down from the best mean: a row shares the rank of the row that
leads the group above it until the first that is told apart from that leader (Holm's correction for all rows below it),
which leads the next group. Two rows of different groups may thus not be told apart from each other. A student that was
trained once counts as one training beside several of another recipe, and is taken to vary over trainings as those do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from skill_bench.report.statistics.interval import LEVEL, Interval
from skill_bench.report.statistics.mean import (
    Part,
    difference_of,
    mean_interval_over_tasks,
    one_repetition,
    retention_interval,
)
from skill_bench.report.statistics.paired import holm, overall_of
from skill_bench.report.table.columns import Column
from skill_bench.report.table.quantities import MEAN, RETENTION
from skill_bench.report.table.relative import teacher_of
from skill_bench.report.table.table import SystemRow
from skill_bench.report.table.trainings import trained_once

Parts = Mapping[str, Sequence[Part]]
"""By column name: over speakers, where they are known and enough, then over items."""
Ways = Sequence[Sequence[Part]]
"""The same in the order of the judged columns."""


def with_whole_rows(rows: Sequence[tuple[SystemRow, Parts]], judged: Sequence[Column]) -> tuple[SystemRow, ...]:
    """The rows, best first, with what can be said of them as a whole.

    Args:
        rows: Each with its parts of the judged columns, as far as its predictions can be read.
        judged: The columns in the mean.
    """
    names = [column.name for column in judged]
    parts = [[own[name] for name in names] if own.keys() >= {*names} else None for _, own in rows]
    plain = [row for row, _ in rows]
    ranks = _shared_ranks(plain, parts)
    done = []
    for i, row in enumerate(plain):
        teacher = teacher_of(row, plain)
        its = None if teacher is None else parts[next(k for k, other in enumerate(plain) if other is teacher)]
        items = _intervals(row, *(ways and over_items(ways) for ways in (parts[i], its)))
        speakers = _intervals(row, parts[i], its) if knows_speakers(parts[i]) else {}
        rank, last = ranks.get(i, (None, None))
        done.append(replace(row, intervals=items, speaker_intervals=speakers, rank=rank, rank_last=last))
    return tuple(done)


def _intervals(row: SystemRow, own: Ways | None, teacher: Ways | None) -> dict[str, Interval]:
    found = {}
    if own is not None and row.value(MEAN) is not None:
        found[MEAN.name] = mean_interval_over_tasks([ways[0] for ways in own])
        common = None if row.value(RETENTION) is None else on_shared_units(own, teacher)
        if common is not None:
            found[RETENTION.name] = retention_interval(*common)
    return {name: interval for name, interval in found.items() if interval is not None}


def over_items(ways: Ways) -> Ways:
    """Without the ways over speakers."""
    return [one[-1:] for one in ways]


def knows_speakers(ways: Ways | None) -> bool:
    """Whether some task can be drawn by speakers."""
    return any(len(one) > 1 for one in ways or ())


def _shared_ranks(rows: Sequence[SystemRow], parts: Sequence[Ways | None]) -> dict[int, tuple[int, int]]:
    """The first and the last place of each row that has a rank, by its number."""
    ranked = [i for i, row in enumerate(rows) if row.rank is not None]
    found: dict[int, tuple[int, int]] = {}
    start = 0
    while start < len(ranked):
        leader, below = ranked[start], ranked[start + 1 :]
        p_values = holm([_p_value(rows, parts, leader, other) for other in below])
        alike = next((k for k, p in enumerate(p_values) if p < 1 - LEVEL), len(below))
        end = start + 1 + alike
        found |= dict.fromkeys(ranked[start:end], (start + 1, end))
        start = end
    return found


def _p_value(rows: Sequence[SystemRow], parts: Sequence[Ways | None], a: int, b: int) -> float:
    """Of the difference of two means; rows without a common test are as different as their means are."""
    differences = differences_of((rows[a], parts[a]), (rows[b], parts[b]))
    if differences is None:
        return float(rows[a].value(MEAN) == rows[b].value(MEAN))
    return overall_of(differences).p_value


def differences_of(a: tuple[SystemRow, Ways | None], b: tuple[SystemRow, Ways | None]) -> list[Part] | None:
    """``b`` minus ``a``, task by task over the same units, each training counting once; None where there are none.

    Args:
        a: A row and its parts, None where its predictions cannot be read.
        b: The same of another.
    """
    pair = on_shared_units(a[1], b[1])
    if pair is None:
        return None
    ours, theirs = (
        [one_repetition(part) for part in own] if trained_once(row.entries, beside=other.entries) else own
        for own, row, other in zip(pair, (a[0], b[0]), (b[0], a[0]), strict=True)
    )
    return [difference_of(x, y) for x, y in zip(ours, theirs, strict=True)]


def on_shared_units(a: Ways | None, b: Ways | None) -> tuple[list[Part], list[Part]] | None:
    """Parts over the same units, task by task: speakers if both know them; None where there are none."""
    if a is None or b is None:
        return None
    pairs = [
        next(((x, y) for x in ours for y in theirs if x.units == y.units), None)
        for ours, theirs in zip(a, b, strict=True)
    ]
    known = [pair for pair in pairs if pair is not None]
    return ([x for x, _ in known], [y for _, y in known]) if len(known) == len(pairs) else None
