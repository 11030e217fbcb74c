"""Ranks that are shared: the paired test, Holm, the row that leads a group; and the sentence that says the same."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import made_samples as made
import numpy as np
import pytest
from scipy.linalg import hadamard

from skill_bench.records.record import Metric, Record, System
from skill_bench.report.statistics.mean import Part
from skill_bench.report.table.build import build
from skill_bench.report.table.collect import collect
from skill_bench.report.table.columns import Column
from skill_bench.report.table.quantities import MEAN
from skill_bench.report.table.table import Section, SystemRow
from skill_bench.report.table.uncertainty import with_intervals
from skill_bench.report.table.whole import Parts, with_whole_rows

MakeRecord = Callable[..., Record]
N, SPEAKERS = 120, 12
ALIKE = {"teacher": 110, "skill": 95, "dphubert": 95}
RIGHT = {"teacher": 100, "skill": 95, "dphubert": 70}

COLUMN = Column(task="ks", metric="accuracy", unit="percent", higher_is_better=True)
PLACES = hadamard(8)[1:]
"""Draws that have a mean of 0 and nothing in common."""
UNITS = tuple(("all", str(i)) for i in range(1000))


def row(place: int, mean: float, *, rank: int | None) -> SystemRow:
    return SystemRow(
        source="measured", origin="run", system=str(place), title=str(place), scores={},
        quantities={MEAN.name: mean}, rank=rank,
    )  # fmt: skip


def part(mean: float, place: int, *, error: float = 0.5**0.5, units: tuple[tuple[str, str], ...] = UNITS) -> Parts:
    """Two of them at different places differ with a standard error of 1, unless ``error`` says otherwise."""
    draws = mean + error * PLACES[place]
    return {COLUMN.name: [Part(value=mean, draws=draws, units=units, n_folds=1, repetitions=({"0": mean},))]}


def shared(means: Sequence[float], parts: Sequence[Parts]) -> list[tuple[int | None, int | None]]:
    """First and last place of each row, in the order of their means."""
    ranks = [1 + sum(other > mean for other in means) for mean in means]
    rows = [row(i, mean, rank=rank) for i, (mean, rank) in enumerate(zip(means, ranks, strict=True))]
    found = with_whole_rows([*zip(rows, parts, strict=True)], [COLUMN])
    return [(one.rank, one.rank_last) for one in found]


@pytest.mark.parametrize(
    ("means", "expected"),
    [
        # Differences are in standard errors. A is like B and B like C, A is not like C: C leads the next group.
        ((10, 8.5, 7), [(1, 2), (1, 2), (3, 3)]),
        # D is like C, who leads, and not like A.
        ((10, 8.5, 7, 5.5), [(1, 2), (1, 2), (3, 4), (3, 4)]),
        # D is like C, who does not lead, and not like B, who does.
        ((10, 6, 4.5, 2.8), [(1, 1), (2, 3), (2, 3), (4, 4)]),
        ((10, 6, 2), [(1, 1), (2, 2), (3, 3)]),
        ((10, 9.5, 9), [(1, 3), (1, 3), (1, 3)]),
        ((10,), [(1, 1)]),
    ],
)
def test_a_row_shares_the_rank_of_the_one_that_leads_the_group_above_it(
    means: tuple[float, ...], expected: list[tuple[int, int]]
) -> None:
    assert shared(means, [part(mean, i) for i, mean in enumerate(means)]) == expected


def test_the_correction_is_for_all_rows_below_the_leader() -> None:
    """2.15 standard errors have p = .032: told apart from one row, not from the lowest of two or of three."""
    alone, of_two = (10, 7.85), (10, 9.9, 7.85)
    assert shared(alone, [part(mean, i) for i, mean in enumerate(alone)]) == [(1, 1), (2, 2)]
    assert shared(of_two, [part(mean, i) for i, mean in enumerate(of_two)]) == [(1, 3)] * 3


def test_a_group_ends_at_the_first_row_that_is_told_apart() -> None:
    """The third is so noisy that nothing tells it from the first; it is no part of a group that has ended."""
    parts = [part(10, 0), part(6, 1), part(5.9, 2, error=8)]
    assert shared((10, 6, 5.9), parts) == [(1, 1), (2, 3), (2, 3)]


@pytest.mark.parametrize("other", [{}, part(9.9, 1, units=UNITS[:-1])])
def test_rows_without_a_common_test_are_as_different_as_their_means(other: Parts) -> None:
    """No predictions, or of other items: the two beside it, which a test does not tell apart, are parted too."""
    assert shared((10, 9.9, 9.8), [part(10, 0), other, part(9.8, 2)]) == [(1, 1), (2, 2), (3, 3)]
    assert shared((10, 10, 5), [part(10, 0), other, part(5, 2)]) == [(1, 2), (1, 2), (3, 3)]


def test_a_row_without_a_rank_takes_no_part() -> None:
    rows = [row(0, 10, rank=1), row(1, 9.9, rank=2), row(2, 9.8, rank=None)]
    found = with_whole_rows([*zip(rows, [part(10, 0), part(9.9, 1), part(9.8, 2)], strict=True)], [COLUMN])
    assert [(one.rank, one.rank_last) for one in found] == [(1, 2), (1, 2), (None, None)]


def section(folder: Path, make_record: MakeRecord, right: dict[str, int], *, speakers: bool) -> Section:
    """The first items are right, and each speaker says ten: systems differ in whole speakers."""
    for name, n in right.items():
        system = System(
            name=name, title=name.upper(), kind="teacher" if name == "teacher" else "student", identity=name,
            teacher=None if name == "teacher" else "teacher", n_parameters=4000 if name == "teacher" else 1000,
        )  # fmt: skip
        rows = made.label_rows(np.arange(N) < n)
        rows = made.spoken(rows, np.arange(N) * SPEAKERS // N) if speakers else rows
        metrics = {"accuracy": Metric.percent(n, N, higher_is_better=True)}
        make_record(name, system=system, metrics=metrics).save(folder, predictions=rows)
    (found,) = with_intervals(build([collect(folder)])).sections
    return found


@pytest.mark.parametrize("speakers", [False, True])
def test_what_it_tells_apart_the_ranks_tell_apart(tmp_path: Path, make_record: MakeRecord, speakers: bool) -> None:
    """25 of 120 utterances are many; two and a half of twelve speakers are not."""
    found = section(tmp_path, make_record, RIGHT, speakers=speakers)
    ranks = {row.system: row.rank for row in found.rows}
    said = str(found.finding).split("; ")[1]
    assert (ranks["skill"] == ranks["dphubert"]) == speakers
    if speakers:
        assert re.fullmatch(
            r"SKILL and DPHUBERT are not told apart \(\+20\.8 ± \d\d\.\d points for other speakers\)\.", said
        )
    else:
        assert re.fullmatch(r"SKILL is better than DPHUBERT by 20\.8 ± \d\.\d points\.", said)


def test_what_is_kept_is_said_for_other_speakers_too(tmp_path: Path, make_record: MakeRecord) -> None:
    halves = [
        [int(half) for half in re.findall(r"± (\d+) %", str(found.finding))]
        for found in (section(tmp_path / f"{known}", make_record, ALIKE, speakers=known) for known in (False, True))
    ]
    assert [len(found) for found in halves] == [1, 2]
    (items,), (again, other) = halves
    assert items == again < other, "the same utterances; speakers vary more"


def test_one_pair_among_many_is_not_called_better_where_its_rank_is_shared(
    tmp_path: Path, make_record: MakeRecord
) -> None:
    """The ranks correct for all rows, so that a difference has to be larger where there are many."""
    own = {"teacher": 95, "skill": 95, "dphubert": 89}
    few = section(tmp_path / "few", make_record, own, speakers=False)
    many = section(tmp_path / "many", make_record, own | {f"m{n}": 89 for n in range(12)}, speakers=False)
    assert "; SKILL is better than DPHUBERT by 5.0 ± " in str(few.finding)
    assert {row.rank for row in many.rows} == {1}
    assert str(many.finding).endswith("; SKILL and DPHUBERT are too close to call."), "one verdict in a sentence"
