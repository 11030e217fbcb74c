"""Seeds of a recipe as one row, sections in order, and what synthetic speech does not get.

Which tasks enter the mean: those on which the teacher is ahead of both controls.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import made_samples as made
import numpy as np
import pytest

from skill_bench.records.record import Metric, Record, System
from skill_bench.report.comparison import compare_systems
from skill_bench.report.render.frame import to_frame
from skill_bench.report.table.build import build
from skill_bench.report.table.collect import collect
from skill_bench.report.table.load import load_table
from skill_bench.report.table.quantities import MEAN, PARAMETERS, RETENTION
from skill_bench.report.table.table import Section, SystemRow, Table
from skill_bench.report.table.uncertainty import leads_of, with_intervals
from skill_bench.report.table.verify import verify

MakeRecord = Callable[..., Record]
Scores = Mapping[str, int]
N_ITEMS = 40
ACCURACIES = {
    "teacher": {"ks": 80, "er": 60, "sid": 50},
    "skill": {"ks": 70, "er": 90, "sid": 40},
    "dphubert": {"ks": 75, "er": 10, "sid": 40},
    "random": {"ks": 30, "er": 58, "sid": 10},
    "logmel": {"ks": 20, "er": 20, "sid": 48},
}
KINDS = {"teacher": "teacher", "skill": "student", "dphubert": "student", "random": "control", "logmel": "baseline"}


def student(name: str, seed: int, n_parameters: int = 1000) -> System:
    return System(
        name=f"{name}-s{seed}", title=f"{name.upper()}, seed {seed}", kind="student", identity=f"{name}{seed}",
        teacher="teacher", n_parameters=n_parameters, details={"evidence_row": name, "distillation_seed": seed},
    )  # fmt: skip


def save(make_record: MakeRecord, folder: Path, system: System, right: int, *, seed: int = 0, **changes: Any) -> None:
    """A record of so many right answers of 40, with its predictions."""
    rows = [
        {
            "id": f"{n:02}", "fold": "all", "target": "a", "prediction": "a" if n < right else "b",
            "numerator": int(n < right), "denominator": 1,
        }
        for n in range(N_ITEMS)
    ]  # fmt: skip
    metric = Metric.percent(right, N_ITEMS, higher_is_better=True)
    record = make_record(system.name, seed=seed, system=system, metrics={"accuracy": metric}, **changes)
    assert record.data is not None
    data = record.data.model_copy(update={"n_test": N_ITEMS})
    record.model_copy(update={"data": data}).save(folder, predictions=rows)


@pytest.fixture
def folder(make_record: MakeRecord, tmp_path: Path) -> Path:
    """Two recipes with two distillation and two probe seeds each, and their teacher."""
    right = {("skill", 0): (20, 22), ("skill", 1): (28, 30), ("dphubert", 0): (24, 24), ("dphubert", 1): (25, 27)}
    for (name, training), probes in right.items():
        for seed, n in enumerate(probes):
            save(make_record, tmp_path, student(name, training, 1000 + 200 * training), n, seed=seed)
    teacher = System(name="teacher", title="Teacher", kind="teacher", identity="t", n_parameters=4400)
    for seed in range(2):
        save(make_record, tmp_path, teacher, 30, seed=seed)
    return tmp_path


def row_of(table: Table, system: str) -> SystemRow:
    return next(row for section in table.sections for row in section.rows if row.system == system)


def test_seeds_of_a_recipe_are_one_row(folder: Path) -> None:
    table = build([collect(folder)])
    assert {row.system for row in table.sections[0].rows} == {"skill", "dphubert", "teacher"}
    skill = row_of(table, "skill")
    assert (skill.title, skill.n_trainings, skill.identity, len(skill.entries)) == ("SKILL", 2, None, 4)
    cell = skill.scores["ks_accuracy_percent"]
    assert cell.by_seed == {0: 52.5, 1: 72.5}, "each training is the mean over its probe seeds"
    assert (cell.value, skill.value(MEAN)) == (62.5, 62.5)
    assert cell.std == pytest.approx(20 / 2**0.5)
    assert skill.value(PARAMETERS) == pytest.approx(0.0011), "the mean of 1000 and 1200"
    assert skill.value(RETENTION) == pytest.approx(100 * 62.5 / 75)
    assert to_frame(table)["ks_accuracy_percent_n_seeds"].tolist() == [2, 2, 2]
    apart = build([collect(folder)], by_training=True)
    assert len(apart.sections[0].rows) == 5


def test_what_a_training_lacks_is_noted(make_record: MakeRecord, tmp_path: Path) -> None:
    """Else a mean of one training would look like that of all."""
    sized, unsized = student("skill", 0), student("skill", 1).model_copy(update={"n_parameters": None})
    save(make_record, tmp_path, sized, 20)
    save(make_record, tmp_path, sized, 20, task="er")
    save(make_record, tmp_path, unsized, 30)
    row = row_of(build([collect(tmp_path)]), "skill")
    assert row.quantities[PARAMETERS.name] == 0.001
    assert row.notes[-1] == "distillation seed 1 has no er_accuracy_percent, parameters_millions"


def test_a_training_counts_once_however_many_probes_it_has(make_record: MakeRecord, tmp_path: Path) -> None:
    for training, seed, right in ((0, 0, 20), (0, 1, 20), (0, 2, 20), (1, 0, 40)):
        save(make_record, tmp_path, student("skill", training), right, seed=seed)
    assert row_of(build([collect(tmp_path)]), "skill").value(MEAN) == 75.0


def test_the_interval_holds_what_another_training_would_change(folder: Path, make_record: MakeRecord) -> None:
    """The same answers as two probes of one training would vary less than as two trainings."""
    table = with_intervals(build([collect(folder)]))
    skill, dphubert = (row_of(table, name).intervals[MEAN.name] for name in ("skill", "dphubert"))
    assert skill.high - skill.low > dphubert.high - dphubert.low, "its trainings are farther apart"
    one = folder.parent / "one"
    for seed, right in enumerate((20, 22, 28, 30)):
        save(make_record, one, student("skill", 0), right, seed=seed)
    probes = row_of(with_intervals(build([collect(one)])), "skill").intervals[MEAN.name]
    assert skill.high - skill.low > probes.high - probes.low


def test_verify_computes_the_mean_over_trainings_again(folder: Path) -> None:
    found = verify(build([collect(folder)]))
    assert (found.mismatches, found.unverified) == ([], [])
    assert found.n_numbers > 20


def test_recipes_are_compared_by_trainings(folder: Path) -> None:
    (found,) = compare_systems(build([collect(folder)]), "skill", "dphubert")
    assert found.tasks[0].found.n_seeds == (2, 2)
    assert found.tasks[0].found.difference == pytest.approx(0.0)


def test_a_student_trained_once_varies_as_much_as_the_other_recipe(make_record: MakeRecord, folder: Path) -> None:
    """Its probes, which agree, are no trainings: skill's spread of 20 points stands in for theirs."""
    for seed in range(2):
        save(make_record, folder, student("once", 0), 32, seed=seed)
    (found,) = compare_systems(build([collect(folder)]), "skill", "once")
    assert found.tasks[0].found.n_seeds == (2, 1)
    over_trainings = np.var([52.5, 72.5], ddof=1) * (1 / 2 + 1)
    assert found.tasks[0].found.standard_error > over_trainings**0.5
    (teacher,) = compare_systems(build([collect(folder)]), "skill", "teacher")
    assert teacher.tasks[0].found.n_seeds == (2, 2), "which exists once, and was not drawn"


def test_so_it_does_where_rows_are_ranked(make_record: MakeRecord, tmp_path: Path) -> None:
    """Three probes that agree would else be three trainings that agree, and one more or less would not matter."""
    for training, right in enumerate((12, 28)):
        save(make_record, tmp_path, student("skill", training), right)
    control = System(name="random", title="Untrained", kind="control", identity="r", n_parameters=1000)
    for seed in range(3):
        save(make_record, tmp_path, student("once", 0), 40, seed=seed)
        save(make_record, tmp_path, control, 2, seed=seed)
    table = with_intervals(build([collect(tmp_path)]))
    found = {name: row_of(table, name) for name in ("once", "skill", "random")}
    assert (found["once"].rank, found["once"].rank_last) == (found["skill"].rank, found["skill"].rank_last)
    assert found["random"].rank == 3, "which no training would change"


def test_the_finding_in_a_sentence(folder: Path, make_record: MakeRecord) -> None:
    (section,) = with_intervals(build([collect(folder)])).sections
    assert section.finding is not None
    start, rest = section.finding.split(" ± ", 1)
    assert start == "On KS alone, 2 students keep 83"
    assert " % of their teacher at 25 % of its size; SKILL and DPHUBERT are not told apart (" in rest
    for seed in range(2):
        save(make_record, folder, student("skill", 0), 2 + seed, seed=seed)
        save(make_record, folder, student("skill", 1), 2 + seed, seed=seed)
    (section,) = with_intervals(build([collect(folder)])).sections
    assert section.finding is not None
    assert "; DPHUBERT is better than SKILL by 5" in section.finding


def test_no_finding_without_a_teacher(make_record: MakeRecord, tmp_path: Path) -> None:
    save(make_record, tmp_path, student("skill", 0), 20)
    assert with_intervals(build([collect(tmp_path)])).sections[0].finding is None


def test_recorded_speech_comes_first_and_synthetic_speech_has_no_ranks(make_record: MakeRecord, tmp_path: Path) -> None:
    for name, synthetic in (("demo", True), ("local", False)):
        for system, right in (("a", 20), ("b", 30)):
            model = System(name=system, title=system, identity=system)
            save(make_record, tmp_path, model, right, suite=name, synthetic=synthetic)
    table = with_intervals(build([collect(tmp_path)]))
    assert [section.suite for section in table.sections] == ["local", "demo"]
    local, demo = table.sections
    assert [(row.title, row.rank, row.value(MEAN)) for row in local.rows] == [("b", 1, 75.0), ("a", 2, 50.0)]
    assert [(row.title, row.rank, row.value(MEAN)) for row in demo.rows] == [("a", None, None), ("b", None, None)]
    assert all(cell.rank is None for row in demo.rows for cell in row.scores.values())
    assert all(cell.interval is not None for row in demo.rows for cell in row.scores.values()), "each task is as it is"


def test_tasks_stand_in_superbs_order(make_record: MakeRecord, tmp_path: Path) -> None:
    for task in ("er", "ks", "pr", "zz"):
        make_record(task=task).save(tmp_path)
    (section,) = build([collect(tmp_path)]).sections
    assert section.tasks == ("pr", "ks", "er", "zz")
    assert [column.task for column in section.columns] == ["pr", "ks", "er", "zz"]


def test_the_shipped_table_opens_on_recorded_speech() -> None:
    first, *_, last = load_table(intervals=False).sections
    assert (first.source, first.suite, first.synthetic) == ("measured", "dspspeech20", False)
    assert {row.system for row in first.rows} >= {"skill", "dphubert", "teacher"}
    assert row_of(Table(sections=(first,)), "skill").n_trainings == 5
    assert (last.suite, last.synthetic) == ("demo", True)


def save_scores(folder: Path, make_record: MakeRecord, name: str, scores: Scores, **changes: Any) -> None:
    kind = KINDS.get(name, "student")
    system = System(
        name=name, title=name.title(), kind=kind, identity=name, n_parameters=1500,  # type: ignore[arg-type]
        teacher="teacher" if kind == "student" else None,
    )  # fmt: skip
    for task, accuracy in scores.items():
        record = make_record(name, task, accuracy, identity=name, **{"suite": "local"} | changes)
        rows = made.label_rows(np.arange(100) < accuracy)
        record.model_copy(update={"system": system}).save(folder, predictions=rows)


def only_section(folder: Path) -> Section:
    (found,) = with_intervals(build([collect(folder)])).sections
    return found


def section(folder: Path, make_record: MakeRecord, without: str = "", **changes: Any) -> Section:
    for name, scores in ACCURACIES.items():
        if name != without:
            save_scores(folder, make_record, name, scores, **changes)
    return only_section(folder)


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


def remove(folder: Path, system: str, task: str) -> None:
    for path in (folder / "local" / system).glob(f"{task}-*"):
        path.unlink()


def test_a_mean_and_its_rank_need_the_tasks_that_count_alone(tmp_path: Path, make_record: MakeRecord) -> None:
    section(tmp_path, make_record)
    remove(tmp_path, "dphubert", "er")
    save_scores(tmp_path, make_record, "skill", {"pr": 20})
    found = only_section(tmp_path)
    assert {row.system: row.value(MEAN) for row in found.rows} == {name: of["ks"] for name, of in ACCURACIES.items()}
    assert {row.system for row in found.rows if row.rank is not None} == {*ACCURACIES}
    assert str(found.finding).startswith("On KS alone, 2 students keep"), "one has a task that nobody else has"
    remove(tmp_path, "skill", "ks")
    assert {row.system: (row.value(MEAN), row.rank) for row in only_section(tmp_path).rows}["skill"] == (None, None)


@pytest.mark.parametrize("gone", ["teacher", "random", "logmel"])
def test_a_task_on_which_nobody_knows_does_not_count_where_the_others_are_known(
    tmp_path: Path, make_record: MakeRecord, gone: str
) -> None:
    section(tmp_path, make_record)
    save_scores(tmp_path, make_record, "teacher", {"pr": 20})
    for name in ("skill", "random", "logmel"):
        save_scores(tmp_path, make_record, name, {"pr": 90})
    assert [column.task for column in only_section(tmp_path).averaged] == ["pr", "ks"]
    remove(tmp_path, gone, "pr")
    found = only_section(tmp_path)
    assert [column.task for column in found.averaged] == ["ks"]
    (note,) = found.notes
    said = f"not held against {gone}" if gone != "teacher" else "not held against random, not held against logmel"
    assert note.startswith("the mean leaves out pr, sid, er. ")
    assert said in note.partition("pr ")[2].partition(";")[0]


def test_a_task_that_failed_for_everybody_does_not_count(tmp_path: Path, make_record: MakeRecord) -> None:
    section(tmp_path, make_record)
    for name in ACCURACIES:
        save_scores(tmp_path, make_record, name, {"pr": 0})
    found = only_section(tmp_path)
    assert found.left_out == ("pr", "sid", "er")
    assert "pr without any result; " in found.notes[0]


def test_a_teacher_of_nobody_does_not_decide(tmp_path: Path, make_record: MakeRecord) -> None:
    """Though it has the best mean, and would make every task count."""
    other = System(name="large", title="Large", kind="teacher", identity="large")
    section(tmp_path, make_record)
    for task in ("ks", "er", "sid"):
        record = make_record("large", task, 99, suite="local", identity="large")
        record.model_copy(update={"system": other}).save(tmp_path, predictions=made.label_rows(np.arange(100) < 99))
    assert [column.task for column in only_section(tmp_path).averaged] == ["ks"]


def test_of_two_teachers_of_students_the_one_that_leads_less_decides(tmp_path: Path, make_record: MakeRecord) -> None:
    section(tmp_path, make_record)
    for name, kind, teacher, scores in (
        ("other", "teacher", None, {"ks": 35, "er": 99, "sid": 99}),
        ("its-student", "student", "other", {"ks": 35}),
    ):
        system = System(name=name, title=name, kind=kind, identity=name, teacher=teacher)  # type: ignore[arg-type]
        for task, accuracy in scores.items():
            record = make_record(name, task, accuracy, suite="local", identity=name)
            rows = made.label_rows(np.arange(100) < accuracy)
            record.model_copy(update={"system": system}).save(tmp_path, predictions=rows)
    found = only_section(tmp_path)
    assert found.left_out == ("ks", "sid", "er"), "ks: the other teacher is not ahead; sid, er: the first is not"
    assert {row.value(MEAN) for row in found.rows} == {None}


def test_pages_and_comparisons_leave_out_the_same(tmp_path: Path, make_record: MakeRecord) -> None:
    table = section(tmp_path, make_record)
    (evidence,) = build([collect(tmp_path)], by_training=True).sections
    assert [lead.column for lead in leads_of(evidence) if lead.counts] == [*table.averaged]
    (compared,) = compare_systems(build([collect(tmp_path)]), "skill", "dphubert")
    assert compared.mean is not None
    assert table.notes == (compared.left_out,)
