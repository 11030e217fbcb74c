"""The sentence at the top of a section: drawn as the ranks below it are, and nothing else than they say."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import made_samples as made
import numpy as np
import pytest

from skill_bench.records.record import Metric, Record, System
from skill_bench.report.table.build import build
from skill_bench.report.table.collect import collect
from skill_bench.report.table.table import Section
from skill_bench.report.table.uncertainty import with_intervals

MakeRecord = Callable[..., Record]
N, SPEAKERS = 120, 12
ALIKE = {"teacher": 110, "skill": 95, "dphubert": 95}
RIGHT = {"teacher": 100, "skill": 95, "dphubert": 70}


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
