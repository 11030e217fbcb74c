"""Which tasks enter the mean: those on which the teacher is ahead of both controls."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import made_samples as made
import numpy as np
import pytest

from skill_bench.records.record import Record, System
from skill_bench.report.table.build import build
from skill_bench.report.table.collect import collect
from skill_bench.report.table.quantities import MEAN
from skill_bench.report.table.table import Section
from skill_bench.report.table.uncertainty import with_intervals

MakeRecord = Callable[..., Record]
ACCURACIES = {
    "teacher": {"ks": 80, "er": 60, "sid": 50},
    "skill": {"ks": 70, "er": 90, "sid": 40},
    "dphubert": {"ks": 75, "er": 10, "sid": 40},
    "random": {"ks": 30, "er": 58, "sid": 10},
    "logmel": {"ks": 20, "er": 20, "sid": 48},
}
KINDS = {"teacher": "teacher", "skill": "student", "dphubert": "student", "random": "control", "logmel": "baseline"}


def section(folder: Path, make_record: MakeRecord, without: str = "", *, synthetic: bool = False) -> Section:
    for name, scores in ACCURACIES.items():
        for task, accuracy in scores.items():
            if name != without:
                system = System(
                    name=name, title=name.title(), kind=KINDS[name], identity=name, n_parameters=1500,  # type: ignore[arg-type]
                    teacher="teacher" if KINDS[name] == "student" else None,
                )  # fmt: skip
                record = make_record(name, task, accuracy, suite="local", synthetic=synthetic, identity=name)
                rows = made.label_rows(np.arange(100) < accuracy)
                record.model_copy(update={"system": system}).save(folder, predictions=rows)
    (found,) = with_intervals(build([collect(folder)])).sections
    return found


def test_only_tasks_on_which_the_teacher_leads_both_controls_are_averaged(
    tmp_path: Path, make_record: MakeRecord
) -> None:
    found = section(tmp_path, make_record)
    means = {row.system: row.value(MEAN) for row in found.rows}
    assert means == {name: scores["ks"] for name, scores in ACCURACIES.items()}, "er: not before random; sid: log-mel"
    assert [row.system for row in found.rows] == ["teacher", "dphubert", "skill", "random", "logmel"]
    by_name = {row.system: row for row in found.rows}
    assert by_name["skill"].quantities["retention_percent"] == pytest.approx(100 * 70 / 80)
    interval = by_name["skill"].intervals[MEAN.name]
    assert interval.low < 70 < interval.high
    (note,) = found.notes
    assert note.startswith("the mean leaves out sid, er. A task counts where")
    assert set(by_name["skill"].scores) == {"ks_accuracy_percent", "er_accuracy_percent", "sid_accuracy_percent"}


@pytest.mark.parametrize("without", ["teacher", "random", "logmel"])
def test_where_nobody_knows_all_tasks_are_averaged(tmp_path: Path, make_record: MakeRecord, without: str) -> None:
    found = section(tmp_path, make_record, without)
    assert {row.system: row.value(MEAN) for row in found.rows}["skill"] == pytest.approx(np.mean([70, 90, 40]))
    assert found.notes == ()


def test_synthetic_speech_has_no_mean(tmp_path: Path, make_record: MakeRecord) -> None:
    found = section(tmp_path, make_record, synthetic=True)
    assert {row.value(MEAN) for row in found.rows} == {None}
    assert {row.rank for row in found.rows} == {None}


def test_a_row_without_a_task_that_does_not_count_has_no_mean(tmp_path: Path, make_record: MakeRecord) -> None:
    section(tmp_path, make_record)
    for path in (tmp_path / "local" / "dphubert").glob("er-*"):
        path.unlink()
    (found,) = with_intervals(build([collect(tmp_path)])).sections
    means = {row.system: row.value(MEAN) for row in found.rows}
    assert (means["dphubert"], means["skill"]) == (None, 70)
