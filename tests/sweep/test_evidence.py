"""The evidence page from made-up records: means, intervals, changes, gaps."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import made_records
import made_samples as made
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from typer.testing import CliRunner, Result

from skill_bench.base.archive import read_bytes
from skill_bench.base.errors import RecordError, UsageError
from skill_bench.base.provenance import Git
from skill_bench.cli.main import app
from skill_bench.records.record import Metric, Record, Selection, System
from skill_bench.records.similarity import SIMILARITY_FILE
from skill_bench.report.table.build import build
from skill_bench.report.table.collect import Collection, collect
from skill_bench.report.table.table import Section
from skill_bench.report.table.uncertainty import leads_of
from skill_bench.sweep.report import joint
from skill_bench.sweep.report.choices import REFERENCE
from skill_bench.sweep.report.gaps import missing
from skill_bench.sweep.report.groups import Group, Wanted, differences, groups_of, mean_interval
from skill_bench.sweep.report.joint import Suite
from skill_bench.sweep.report.page import write_up
from skill_bench.sweep.report.write import write_page

MakeRecord = Callable[..., Record]
SCORES = {"skill": (60, 62, 67), "dphubert": (50, 52, 51), "skill-k2": (61,)}
RECIPES: dict[str, dict[str, Any]] = {
    "skill": {"name": "skill", "groups": {"method": "similarity", "n_groups": 4}},
    "dphubert": {"name": "dphubert", "groups": {"method": "fixed"}},
    # Written when there was one option more, which is off.
    "skill-k2": {"name": "skill", "groups": {"method": "similarity", "n_groups": 2}, "sparsity": {"remove": False}},
}


def save_student(
    make_record: MakeRecord, folder: Path, name: str, seed: int, score: int | None, recipe: Mapping[str, Any]
) -> None:
    """``score`` on ks, one more with the second probe seed, and as much on pr, where one cell failed; None: all did."""
    system = System(
        name=f"{name}-s{seed}", title=f"{name.upper()}, seed {seed}", kind="student", identity=f"{name}{seed}",
        n_parameters=1500, teacher="teacher",
        details={"evidence_row": name, "distillation_seed": seed, "recipe": json.dumps({**recipe, "seed": seed})},
    )  # fmt: skip
    for probe in (0, 1):
        for task in ("ks", "pr"):
            failed = (name, seed, task, probe) == ("dphubert", 2, "pr", 1)
            value = None if failed or score is None else score + probe if task == "ks" else 100 - score
            record = make_record(f"{name}-s{seed}", task, value, seed=probe, identity=f"{name}{seed}")
            save(record.model_copy(update={"system": system}), folder)


@pytest.fixture
def folder(make_record: MakeRecord, tmp_path: Path) -> Path:
    """Three rows of students on two tasks with two probe seeds, a teacher, a baseline; one cell failed."""
    for name, scores in SCORES.items():
        for seed, score in enumerate(scores):
            save_student(make_record, tmp_path / "records", name, seed, score, RECIPES[name])
    for probe, value in ((0, 70), (1, 74)):
        save(make_record("teacher", "ks", value, seed=probe), tmp_path / "records")
        save(make_record("teacher", "pr", 30, seed=probe), tmp_path / "records")
    save(make_record("fbank", "ks", 20), tmp_path / "records")
    return tmp_path / "records"


@pytest.fixture
def with_controls(folder: Path, make_record: MakeRecord) -> Path:
    """The same with a teacher that is called one, far ahead of both controls on both tasks."""
    add_teacher_and_controls(folder, make_record, untrained_ks=30)
    return folder


def add_teacher_and_controls(folder: Path, make_record: MakeRecord, *, untrained_ks: int) -> None:
    teacher = System(name="teacher", title="Teacher", kind="teacher", identity="t")
    for probe, accuracy, per in ((0, 70, 30), (1, 74, 32)):
        for task, value in (("ks", accuracy), ("pr", per)):
            record = make_record("teacher", task, value, seed=probe, identity="t")
            save(record.model_copy(update={"system": teacher}), folder)
        for control, ks in (("random", untrained_ks), ("logmel", 20)):
            save(make_record(control, "ks", ks + probe, seed=probe), folder)
            save(make_record(control, "pr", 90, seed=probe), folder)


def suite(section: Section, groups: dict[str, Group]) -> Suite:
    return Suite(section=section, groups=groups, leads=leads_of(section))


def save(record: Record, folder: Path) -> None:
    """With predictions on a hundred items that give the record's value: the first ones right, or wrong."""
    metric = record.metrics.get(record.metric)
    if metric is None or metric.value is None:
        record.save(folder)
        return
    counted = np.arange(100) < metric.value
    is_label = record.metric == "accuracy"
    record.save(folder, predictions=made.label_rows(counted) if is_label else made.error_rows(counted, np.ones(100)))


@pytest.fixture
def section(folder: Path) -> Section:
    (found,) = build([collect(folder)], by_training=True).sections
    return found


@pytest.fixture
def groups(section: Section) -> dict[str, Group]:
    return {group.name: group for group in groups_of(section)}


def test_rows_are_students_over_their_seeds(section: Section, groups: dict[str, Group]) -> None:
    assert list(groups) == ["dphubert", "fbank", "skill", "skill-k2", "teacher"]
    skill = groups["skill"]
    assert (list(skill.rows), skill.title, skill.n_probe_seeds) == ([0, 1, 2], "SKILL", (2, 2))
    ks = next(column for column in section.judged if column.task == "ks")
    found = skill.metric(ks)
    assert found is not None
    assert found.values == (60.5, 62.5, 67.5)  # each the mean of its two probe seeds
    assert found.value == pytest.approx(np.mean([60.5, 62.5, 67.5]))
    half = 4.302652729911275 * np.std([60.5, 62.5, 67.5], ddof=1) / np.sqrt(3)  # t(0.975, 2)
    assert found.interval is not None
    assert (found.interval.low, found.interval.high) == pytest.approx((found.value - half, found.value + half))
    teacher = groups["teacher"].metric(ks)
    assert teacher is not None
    assert teacher.values == (70, 74)  # it exists once, so its probes are what varies


def test_a_student_counts_once_a_distillation_seed(section: Section, groups: dict[str, Group]) -> None:
    found = differences(section, groups["skill"], groups["dphubert"])
    ks, pr = found["ks_accuracy_percent"], found["pr_per_percent"]
    assert (ks.n_seeds, pr.n_seeds) == ((3, 3), (3, 3)), "not six probes"
    assert (ks.a, ks.b) == pytest.approx((63.5, 51.5))
    assert (ks.difference, pr.difference) == pytest.approx((-12.0, -12.0)), "an error rate counts the other way"
    # Seeds that vary by s add 2 s^2 / 3 to the variance, whatever the items do: pooled over both rows.
    of_seeds = (np.var([60.5, 62.5, 67.5], ddof=1) + np.var([50.5, 52.5, 51.5], ddof=1)) / 2 * 2 / 3
    assert ks.standard_error > of_seeds**0.5
    back = differences(section, groups["dphubert"], groups["skill"])
    assert back["ks_accuracy_percent"].difference == pytest.approx(12.0)
    assert list(differences(section, groups["skill"], groups["fbank"])) == ["ks_accuracy_percent"]


def test_predictions_that_changed_are_not_compared(folder: Path) -> None:
    next(folder.glob("*/dphubert-s0/ks-s0.predictions.jsonl")).write_text("{}\n")
    with pytest.raises(RecordError, match=r"dphubert-s0.ks-s0"):
        write_up(collect(folder), similarity=None, command="x")


def test_a_variant_is_known_by_what_its_recipe_changes(groups: dict[str, Group]) -> None:
    assert groups["skill-k2"].changes == {"groups.n_groups": (4, 2)}
    assert [name for name, group in groups.items() if group.is_ablation] == ["skill-k2"]


def test_gaps_are_named(section: Section, groups: dict[str, Group]) -> None:
    seeds: dict[str, tuple[int | None, ...]] = {
        "skill": (0, 1, 2), "skill-k2": (0, 1), "logmel": (None,), "skill-k9": (0,)
    }  # fmt: skip
    expected = {name: Wanted(seeds=own, tasks=("demo/ks", "demo/pr")) for name, own in seeds.items()}
    found = missing([suite(section, groups)], expected)
    for line in (
        "skill-k2, distillation seed 1: no records",
        "logmel: no records",
        "skill-k9, distillation seed 0: no records",
        "pr, probe seed 1: no result of dphubert-s2",
        "dphubert-s2: pr seed 1 failed: AudioError: a.wav: empty",
        "pr, probe seed 0, 1: no result of fbank",
        "ks, probe seed 1: no result of fbank",
    ):
        assert line in found, line
    assert not any(line.startswith("skill,") or line.startswith("teacher") for line in found)
    lacking = {name for line in found for name in line.partition("no result of ")[2].split(", ") if name}
    assert lacking == {"dphubert-s2", "fbank"}


def test_a_row_lacks_only_what_it_should_have(section: Section, groups: dict[str, Group]) -> None:
    asked = {name: Wanted(seeds=tuple(group.rows), tasks=("demo/ks", "demo/pr")) for name, group in groups.items()}
    asked["fbank"] = Wanted(seeds=(None,), tasks=("demo/ks", "demo/asr"))
    asked["dphubert"] = Wanted(seeds=(0, 1, 2), tasks=("demo/ks",))
    found = missing([suite(section, groups)], asked)
    assert [line for line in found if "no result" in line] == [
        "ks, probe seed 1: no result of fbank",
        "asr, probe seed 0, 1: no result of fbank",
    ]


def test_a_suite_that_nobody_has_is_missing(section: Section, groups: dict[str, Group]) -> None:
    """Of every row that is asked for it, whatever else the row has; one without anything is told once."""
    asked = {name: Wanted(seeds=tuple(group.rows), tasks=("demo/ks",)) for name, group in groups.items()}
    words = Wanted(seeds=(0, 1, 2, 3), tasks=("demo/ks", "words/sid"), probe_seeds=(5,))
    found = missing([suite(section, groups)], {**asked, "skill": words})
    assert "skill, distillation seed 3: no records" in found
    assert [line for line in found if line.startswith("words")] == [
        "words sid, probe seed 5: no result of skill-s0, skill-s1, skill-s2"
    ]
    assert "demo ks, probe seed 1, 5: no result of fbank" in found


def test_results_of_an_earlier_version_stand_for_a_task_until_there_is_a_newer_one(
    section: Section, groups: dict[str, Group]
) -> None:
    outdated = suite(replace(section, outdated=True), groups)
    expected = {"skill": Wanted(seeds=(0, 1, 2), tasks=("demo/ks", "demo/pr"), probe_seeds=(0, 1))}
    assert not [line for line in missing([outdated], expected) if "skill-s0" in line]
    first = replace(groups["skill"], rows={0: groups["skill"].rows[0]})
    newer = suite(replace(section, rows=(first.rows[0],)), {"skill": first})
    lines = [line for line in missing([newer, outdated], expected) if "skill-s" in line]
    assert lines == [
        "pr, probe seed 0, 1: no result of fbank, skill-s1, skill-s2",
        "ks, probe seed 0, 1: no result of skill-s1, skill-s2",
    ]


def test_the_page_says_who_wins_and_what_is_not_there(with_controls: Path) -> None:
    same = {"skill-single": "skill"}
    text = write_up(
        collect(with_controls),
        design="Decided: nothing.",
        similarity=None,
        command="x",
        expected={"filters": Wanted(seeds=(None,), tasks=("demo/ks",))},
        same=same,
    )
    assert "- skill-single finds the groups of skill: the same student, not distilled." in text
    assert "- DPHUBERT is worse than SKILL by 12.0 points (p " in text
    assert "groups.n_groups 4 → 2" in text
    assert "- filters: no records" in text
    assert "## Decided beforehand\n\nDecided: nothing.\n" in text
    assert "No similarity of its layers has been recorded." in text
    assert "The speech is synthetic." not in text
    means, _, systems = text.partition("## The mean over the tasks that count")[2].partition("## Systems")
    row = next(line for line in systems.splitlines() if line.startswith("| SKILL "))
    assert "63.5 [54.5, 72.5]" in row
    assert "3 x 2" in row
    row = next(line for line in means.splitlines() if line.startswith("| SKILL "))
    assert "63.2 [54.3, 72.2]" in row, "60.25, 62.25 and 67.25: both tasks of a seed, over its probe seeds"
    row = next(line for line in means.splitlines() if line.startswith("| Teacher "))
    assert "70.5 [" in row, "70 and 71: it exists once, so its probe seeds are what varies"
    row = next(line for line in means.splitlines() if line.startswith("| Fbank "))
    assert [cell.strip() for cell in row.split("|")[2:5]] == ["–", "–", "–"], "a task is missing"


def test_one_seed_is_enough_for_a_task_that_trains_nothing(with_controls: Path) -> None:
    for path in with_controls.glob("*/*/pr-s*.json"):
        record = Record.read(path)
        path.unlink()
        if record.key.seed == 0:
            save(record.model_copy(update={"key": record.key.model_copy(update={"task": "qbe"})}), with_controls)
    expected = {"skill": Wanted(seeds=(0, 1, 2), tasks=("demo/ks", "demo/qbe"), probe_seeds=(0, 1))}
    text = write_up(collect(with_controls), similarity=None, command="x", expected=expected)
    assert [line for line in text.splitlines() if "qbe, probe seed" in line] == [
        "- qbe, probe seed 0, 1: no result of fbank"
    ]
    means, _, systems = text.partition("## The mean over the tasks that count")[2].partition("## Systems")
    (teacher,) = [line for line in means.splitlines() if line.startswith("| Teacher ")]
    assert "71.0 [58.3, 83.7]" in teacher, "70 and 72: its one value counts beside both probe seeds"
    assert teacher.endswith("| – x 2   |")
    (teacher,) = [line for line in systems.splitlines()[:20] if line.startswith("| Teacher ")]
    assert "| 30.0   " in teacher, "nothing was drawn, so there is no interval"


def test_a_task_counts_where_the_teacher_leads_both_controls(folder: Path, make_record: MakeRecord) -> None:
    add_teacher_and_controls(folder, make_record, untrained_ks=68)
    (section,) = build([collect(folder)]).sections
    found = {lead.column.task: lead for lead in leads_of(section)}
    ks = found["ks"].by_control
    assert ks["random"] is not None
    assert ks["logmel"] is not None
    assert 0 < ks["random"] < 3 < ks["logmel"]
    assert {task: lead.counts for task, lead in found.items()} == {"ks": False, "pr": True}
    text = write_up(collect(folder), similarity=None, command="x")
    counted = text.partition("## Tasks that count")[2].partition("## The mean")[0]
    assert "before random" in counted
    assert [line.rpartition(": ")[2] for line in counted.splitlines() if line.startswith("- demo")] == [
        "counts" if found[task].counts else "does not count" for task in ("pr", "ks")
    ]
    means = text.partition("## The mean over the tasks that count")[2].partition("## Ablation")[0]
    row = next(line for line in means.splitlines() if line.startswith("| SKILL "))
    assert "63.0 [" in row, "PR alone: 100 - 40, 38, 33"


@pytest.mark.parametrize("gone", ["teacher", "random", "logmel"])
def test_nothing_counts_without_teacher_and_controls(with_controls: Path, gone: str) -> None:
    for path in with_controls.glob(f"*/{gone}/*.json"):
        path.unlink()
    text = write_up(collect(with_controls), similarity=None, command="x")
    assert "No task counts, so there is no mean." in text
    assert "63.5 [54.5, 72.5]" in text, "the task is shown all the same"


def test_suites_share_one_mean(with_controls: Path, make_record: MakeRecord) -> None:
    """A second suite with one task; dphubert lacks it, so it has no mean."""
    for path in with_controls.glob("*/*/ks-s*.json"):
        record = Record.read(path)
        if record.metrics and not record.key.upstream.startswith(("dphubert", "fbank")):
            assert record.data is not None
            moved = {
                "key": record.key.model_copy(update={"suite": "words"}),
                "data": record.data.model_copy(update={"suite": "words"}),
            }
            save(record.model_copy(update=moved), with_controls)
    suites = [
        suite(section, {group.name: group for group in groups_of(section)})
        for section in build([collect(with_controls)], by_training=True).sections
    ]
    assert [len(one.counted) for one in suites] == [2, 1]
    found = joint.mean(suites, "skill")
    assert found is not None
    assert found.values == pytest.approx([(2 * (ks + 0.5) + ks) / 3 for ks in (60, 62, 67)])
    assert joint.mean(suites, "dphubert") is None
    assert joint.between(suites, REFERENCE, "dphubert") is None
    assert joint.between(suites[:1], REFERENCE, "dphubert") is not None


def test_synthetic_speech_is_said(tmp_path: Path, make_record: MakeRecord) -> None:
    save(make_record("fbank", "ks", 20, synthetic=True), tmp_path)
    assert "The speech is synthetic." in write_up(collect(tmp_path), similarity=None, command="x")


def test_the_teacher_is_held_against_what_learnt_nothing(folder: Path, make_record: MakeRecord) -> None:
    system = System(name="teacher", title="Teacher", kind="teacher", identity="t")
    for probe, accuracy, per in ((0, 70, 30), (1, 74, 32)):
        for task, value in (("ks", accuracy), ("pr", per)):
            record = make_record("teacher", task, value, seed=probe, identity="t")
            save(record.model_copy(update={"system": system}), folder)
            save(make_record("noise", task, 40 if task == "ks" else 30, seed=probe), folder)
    text = write_up(collect(folder), similarity=None, command="x")
    table = text.partition("### The teacher against the controls")[2].partition("### Learning rates")[0]
    (noise,) = [line for line in table.splitlines() if "noise" in line.lower()]
    cells = [cell.strip() for cell in noise.strip("|").split("|")]
    assert cells[1].startswith("-1.0 ["), "an error rate: lower is better"
    assert cells[2].startswith("+32.0 [+"), "far apart"
    assert cells[3] == "ahead 1 (decided 1), behind 1 (decided 0)"
    (fbank,) = [line for line in table.splitlines() if "fbank" in line.lower()]
    cells = [cell.strip() for cell in fbank.strip("|").split("|")]
    assert cells[2].startswith("+52.0 [+")
    assert [cells[1], cells[3]] == ["–", "ahead 1 (decided 1), behind 0 (decided 0)"], "no result does not count"


def test_a_task_that_is_too_hard_for_all_is_named(folder: Path, make_record: MakeRecord) -> None:
    for name in ("teacher", "fbank"):
        save(make_record(name, "asr", 94), folder)
    too_hard = "PER % is 94.0 at best: too hard for every system here"
    assert too_hard in write_up(collect(folder), similarity=None, command="x")
    save(make_record("noise", "asr", 89), folder)
    assert "too hard" not in write_up(collect(folder), similarity=None, command="x")
    for name, accuracy in (("teacher", 6), ("fbank", 2)):
        save(make_record(name, "sid", accuracy), folder)
    assert "SID acc % is 6.0 at best: too hard" in write_up(collect(folder), similarity=None, command="x")


def test_no_term_weighted_value_is_called_too_hard(folder: Path, make_record: MakeRecord) -> None:
    """Published encoders have 2 to 10 points of it, and are told apart."""
    value = Metric.percent(6, 100, higher_is_better=True).model_copy(update={"unit": "x100"})
    save(make_record("teacher", "qbe", metric="mtwv", metrics={"mtwv": value}), folder)
    page = write_up(collect(folder), similarity=None, command="x")
    assert "QBE MTWV x100" in page
    assert "too hard" not in page


def test_learning_rates_are_counted_over_seeds_and_folds(folder: Path, make_record: MakeRecord) -> None:
    for seed, rate in enumerate((0.01, 0.01, 0.1)):
        chosen = Selection(metric="accuracy", learning_rate=rate)
        save(make_record("noise", "ks", 40, seed=seed, selection=chosen), folder)
    chosen = Selection(metric="accuracy", learning_rate=0.1, per_fold={"a": 0.001, "b": 0.1, "c": 0.001})
    save(make_record("noise", "er", 40, selection=chosen), folder)
    text = write_up(collect(folder), similarity=None, command="x")
    table = text.partition("### Learning rates chosen")[2].partition("## Missing")[0]
    row = next(line for line in table.splitlines() if line.startswith("| Noise "))
    assert [cell.strip() for cell in row.split("|")[2:-1]] == ["–", "0.01 x 2, 0.1 x 1", "0.001 x 2, 0.1 x 1"]
    counted = next(line for line in table.splitlines() if line.startswith("| test items "))
    assert [cell.strip() for cell in counted.split("|")[2:-1]] == ["100", "100", "100"]


def test_the_code_behind_the_records_is_named(folder: Path, make_record: MakeRecord) -> None:
    record = make_record("noise", "ks", 40)
    git = Git(commit="0123456789" * 4, dirty=True)
    save(record.model_copy(update={"provenance": record.provenance.model_copy(update={"git": git})}), folder)
    assert "0123456789, changed (1)" in write_up(collect(folder), similarity=None, command="x")


def test_without_a_teacher_there_is_nothing_to_hold_against(folder: Path) -> None:
    for path in folder.glob("*/teacher/*.json"):
        path.unlink()
    assert "## The teacher" not in write_up(collect(folder), similarity=None, command="x")


def test_variants_are_compared_on_the_tasks_that_all_of_them_have(with_controls: Path) -> None:
    for path in with_controls.glob("*/skill-k2-s0/pr-*.json"):
        path.unlink()
    text = write_up(collect(with_controls), similarity=None, command="x")
    ablation = text.partition("## Ablation")[2].partition("## Systems")[0]
    row = next(line for line in ablation.splitlines() if "n_groups 4 → 2" in line)
    cells = [cell.strip() for cell in row.split("|")]
    assert cells[2:5] == ["61.5", cells[3], "1 x 2"]
    assert cells[3].startswith("-2.0 ["), "KS alone: 61.5, and 63.5 is the mean of all seeds of skill"
    assert "does not tell any of the changes of SKILL apart" in ablation
    assert "On demo ks, which count and which all of them have" in ablation
    assert "- pr, probe seed 0, 1: no result of fbank, skill-k2-s0" in text
    means = text.partition("## The mean over the tasks that count")[2].partition("## Ablation")[0]
    whole = next(line for line in means.splitlines() if line.startswith("| SKILL "))
    assert "63.2 [54.3, 72.2]" in whole, "the mean of both tasks"


UNIFORM = {"name": "uniform_groups", "groups": {"method": "uniform", "n_groups": 4}}


def test_groups_are_compared_on_tasks_at_equal_numbers(with_controls: Path, make_record: MakeRecord) -> None:
    two = {"name": "uniform_groups", "groups": {"method": "uniform", "n_groups": 2}}
    for name, seed, score, recipe in (
        ("uniform_groups", 0, 63, UNIFORM), ("uniform_groups", 1, 64, UNIFORM), ("uniform-k2", 0, 11, two)
    ):  # fmt: skip
        save_student(make_record, with_controls, name, seed, score, recipe)
    text = write_up(collect(with_controls), similarity=None, command="x")
    ablation = text.partition("## Ablation")[2].partition("## ")[0]
    at_two = next(line for line in text.splitlines() if line.startswith("| 2 "))
    cells = [cell.strip() for cell in at_two.split("|")[1:-1]]
    assert cells[1:3] == ["61.2", "11.2"]
    assert cells[3].startswith("-50.0 ["), "against SKILL with two groups"
    assert "- SKILL beside uniform groups: scores more at 2; not decided at 4." in text
    assert "Points on demo pr, demo ks; to SKILL at an equal number of groups" in text
    other = next(line for line in ablation.splitlines() if line.startswith("| UNIFORM-K2 "))
    assert [cell.strip() for cell in other.split("|")][3] == "–", "no change of SKILL"


def test_what_keeping_more_goes_with(with_controls: Path, make_record: MakeRecord) -> None:
    """Points are fifty more than a hundred times what is kept, in every row but one."""
    kept = {"skill": 0.13, "dphubert": 0.01, "skill-k2": 0.11, "uniform_groups": 0.2}
    save_student(make_record, with_controls, "uniform_groups", 0, 70, UNIFORM)
    found = collect(with_controls)
    documents = [made_records.fidelity(f"{name}-s0", value, "a", recipe={"name": name}) for name, value in kept.items()]
    documents[2] = made_records.fidelity("skill-k2-s0", kept["skill-k2"], "a", recipe={"name": "skill", "k": 2})
    few = write_up(replace(found, fidelity=tuple(documents)), similarity=None, command="x")
    assert "goes with on tasks" not in few, "four rows are no line"
    variant = {"name": "uniform_groups", "k": 2}
    documents.append(made_records.fidelity("uniform-k2-s0", 0.3, "a", recipe=variant))
    save_student(make_record, with_controls, "uniform-k2", 0, 60, {**UNIFORM, "groups": {"method": "uniform"}})
    found = replace(collect(with_controls), fidelity=tuple(documents))

    def line_of(text: str, who: str) -> list[str]:
        part = text.partition("## What keeping more goes with on tasks")[2].partition("## ")[0]
        row = next(row for row in part.splitlines() if row.startswith(f"| {who} "))
        return [cell.strip() for cell in row.split("|")[2:-1]]

    def expected(x: Sequence[float], y: Sequence[float]) -> list[float]:
        line = stats.linregress(x, y)
        half = stats.t.ppf(0.975, len(x) - 2) * line.stderr
        return [0.01 * end for end in (line.slope, line.slope - half, line.slope + half)]

    text = write_up(found, similarity=None, command="x")
    rows, tasks, slope, rank, p = line_of(text, "all")
    assert (rows, tasks, rank, p) == ("5", "demo pr, demo ks", "+0.40", "0.505")
    points = [63.5, 51.5, 61.5, 70.5, 60.5]
    assert [float(one) for one in re.findall(r"[+-][0-9.]+", slope)] == pytest.approx(
        expected([*kept.values(), 0.3], points), abs=0.01
    )
    assert "with the teacher's layers" not in text, "nobody has fewer"
    # A shallow row far away gives the line of all; beside it stands the line without.
    documents.append(made_records.fidelity("distilhubert-s0", 0.9, "a", mapping="recipe"))
    save_student(make_record, with_controls, "distilhubert", 0, 10, {"name": "distilhubert"})
    with_shallow = write_up(replace(collect(with_controls), fidelity=tuple(documents)), similarity=None, command="x")
    assert line_of(with_shallow, "all, with the teacher's layers") == [rows, tasks, slope, rank, p]
    assert line_of(with_shallow, "all")[0] == "6"
    assert [float(one) for one in re.findall(r"[+-][0-9.]+", line_of(with_shallow, "all")[2])] == pytest.approx(
        expected([*kept.values(), 0.3, 0.9], [*points, 10.5]), abs=0.01
    )
    # As many recipes as rows with the teacher's layers, and not the same ones: each has its line.
    for name, value, score, mapping in (("random_groups", 0.25, 65, "same"), ("shallow", 0.2, 12, "recipe")):
        documents.append(made_records.fidelity(f"{name}-s0", value, "a", mapping=mapping))
        save_student(make_record, with_controls, name, 0, score, {"name": name})
    found = replace(collect(with_controls), fidelity=tuple(documents))
    text = write_up(found, similarity=None, command="x")
    assert [line_of(text, who)[0] for who in ("all", "recipes", "all, with the teacher's layers")] == ["8", "6", "6"]
    assert "at their recipe's sparsity" not in text, "these are all"
    sparse = {"name": "skill", "sparsity": {"target": 0.9}}
    documents.append(made_records.fidelity("skill-90-s0", 0.05, "a", recipe=sparse))
    save_student(make_record, with_controls, "skill-90", 0, 20, sparse)
    text = write_up(replace(collect(with_controls), fidelity=tuple(documents)), similarity=None, command="x")
    assert [line_of(text, who)[0] for who in ("all", "at their recipe's sparsity", "recipes")] == ["9", "8", "6"]


def test_a_variant_without_any_task_takes_none_from_the_others(with_controls: Path, make_record: MakeRecord) -> None:
    three = {"name": "skill", "groups": {"method": "similarity", "n_groups": 3}}
    save_student(make_record, with_controls, "skill-k3", 0, None, three)
    ablation = write_up(collect(with_controls), similarity=None, command="x").partition("## Ablation")[2]
    assert "| SKILL-K2 " in ablation.partition("## ")[0]
    assert "SKILL-K3" not in ablation.partition("## ")[0]


def test_a_seed_that_one_task_alone_has_is_missing_from_the_others(folder: Path) -> None:
    for path in folder.glob("*/*/pr-s1.json"):
        path.unlink()
    text = write_up(collect(folder), similarity=None, command="x")
    (line,) = [line for line in text.splitlines() if line.startswith("- pr, probe seed 1: no result of ")]
    assert "teacher" in line
    assert "skill-s2" in line


def test_nothing_recorded_is_a_page_that_says_so() -> None:
    text = write_up(Collection(origin="run"), similarity=None, command="x")
    assert "Written from 0 records" in text
    assert "There are no records yet." in text


def test_command_writes_the_same_page_twice(folder: Path, tmp_path: Path) -> None:
    arguments = ["evidence", "write", "--results", str(folder), "--out", str(tmp_path / "docs" / "evidence.md")]
    written = []
    for _ in range(2):
        done = CliRunner().invoke(app, arguments, catch_exceptions=False)
        assert done.exit_code == 0
        written.append((tmp_path / "docs" / "evidence.md").read_bytes())
    assert written[0] == written[1]
    assert written[0].startswith(b"# Evidence\n")
    assert b"## Ablation" in written[0]


def test_records_of_one_grid_may_lie_apart(folder: Path, tmp_path: Path) -> None:
    """As an ablation's do, whose rows are in no leaderboard."""

    def written(*places: Path) -> Result:
        results = [part for place in places for part in ("--results", str(place))]
        return CliRunner().invoke(app, ["evidence", "write", *results, "--out", str(tmp_path / "page.md")])

    assert written(folder).exit_code == 0
    whole = (tmp_path / "page.md").read_text()
    apart, cell = tmp_path / "apart", next(folder.rglob("dphubert-s0"))
    shutil.copytree(cell, apart / cell.relative_to(folder))
    refused = written(folder, apart).exception
    assert isinstance(refused, UsageError)
    assert "are records of one cell. Take one of the two away." in str(refused)
    shutil.rmtree(cell)
    assert written(folder).exit_code == 0
    assert (tmp_path / "page.md").read_text() != whole
    assert written(folder, apart).exit_code == 0
    assert (tmp_path / "page.md").read_text() == whole
    with pytest.raises(UsageError, match="no folder or archive of records was given"):
        write_page([], tmp_path / "page.md")


def test_a_page_of_another_teacher_has_its_own_heading_and_no_figures_if_asked(folder: Path, tmp_path: Path) -> None:
    shipped = Path(__file__).parents[2] / "leaderboard" / "evidence" / "local.zip"
    (folder / SIMILARITY_FILE).write_bytes(read_bytes(shipped / SIMILARITY_FILE))
    out = tmp_path / "earlier.md"
    arguments = ["evidence", "write", "--results", str(folder), "--out", str(out), "--title", "The *earlier* teacher"]
    assert CliRunner().invoke(app, [*arguments, "--no-figures"], catch_exceptions=False).exit_code == 0
    without = out.read_text()
    assert without.startswith("# The \\*earlier\\* teacher\n")
    assert list(tmp_path.glob("earlier*")) == [out]
    assert "| linear CKA" in without, "groups are told all the same"
    assert "![" not in without
    assert CliRunner().invoke(app, arguments, catch_exceptions=False).exit_code == 0
    assert {path.suffix for path in tmp_path.glob("earlier-*")} == {".svg", ".png", ".pdf"}
    assert "![earlier-layers](earlier-layers.svg)" in out.read_text()


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=9))
def test_intervals_are_scipys(a: list[float]) -> None:
    found = mean_interval(a)
    assert found is not None
    if np.std(a) > 1e-6:
        expected = stats.ttest_1samp(a, 0).confidence_interval()
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-6, abs=1e-6)


def test_one_value_has_no_interval() -> None:
    assert mean_interval([3.0]) is None
