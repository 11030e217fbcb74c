"""`skill-bench compare`: which rows are meant, what is said of them."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import made_samples as made
import numpy as np
import pytest
from typer.testing import CliRunner

import skill_bench
from skill_bench.base import catalog
from skill_bench.base.errors import UnknownName, UsageError
from skill_bench.base.provenance import Git
from skill_bench.cli.main import app
from skill_bench.records.record import Metric, System
from skill_bench.report.comparison import (
    SYNTHETIC,
    SystemComparison,
    _corrected,
    compare_systems,
    p_text,
    to_text,
    verdict,
)
from skill_bench.report.statistics.paired import holm
from skill_bench.report.table.build import build
from skill_bench.report.table.collect import collect
from skill_bench.report.table.table import Table

N = 120


@pytest.fixture
def out(tmp_path: Path, make_record: Any) -> Path:
    """``good`` and ``bad`` differ on KS by 25 points, on SID by two items; ``half`` lacks SID."""
    right = {
        ("good", "ks"): N - 10,
        ("bad", "ks"): N - 40,
        ("good", "sid"): 50,
        ("bad", "sid"): 52,
        ("half", "ks"): N - 10,
    }
    for (name, task), n in right.items():
        save(tmp_path, make_record, name, task, np.arange(N) < n)
    return tmp_path


def save(folder: Path, make_record: Any, name: str, task: str, right: Any, speakers: Any = None, **more: Any) -> None:
    metrics = {"accuracy": Metric.percent(int(np.sum(right)), len(right), higher_is_better=True)}
    rows = made.label_rows(np.asarray(right))
    rows = rows if speakers is None else made.spoken(rows, speakers)
    make_record(name, task, metrics=metrics, **more).save(folder, predictions=rows)


def table(folder: Path, origin: str = "run") -> Table:
    return build([collect(folder, origin=origin)])


def only(folder: Path, a: str, b: str) -> SystemComparison:
    return only_of(table(folder), a, b)


def only_of(found: Table, a: str, b: str) -> SystemComparison:
    (one,) = compare_systems(found, a, b)
    return one


def test_differences_and_verdicts(out: Path) -> None:
    found = only(out, "good", "bad")
    ks, sid = found.tasks
    assert ks.found.difference == pytest.approx(-25)
    assert ks.p_holm < 0.001
    assert ks.verdict == "Bad is worse than Good by 25.0 points"
    assert sid.found.difference == pytest.approx(100 * 2 / N)
    assert sid.p_holm >= sid.found.p_value > 0.05
    assert sid.verdict.startswith("no difference shown: Bad may be ")
    assert found.mean is not None
    assert found.mean.difference == pytest.approx((-25 + 100 * 2 / N) / 2)
    assert found.mean.p_worse < 0.01
    assert any(note.startswith("one seed") for note in found.notes)


@pytest.mark.parametrize(
    ("of_a", "of_b", "units"), [(12, 12, "speakers"), (5, 5, "items"), (12, None, "items"), (12, 10, "items")]
)
def test_speakers_are_swapped_whole_where_both_know_enough(
    tmp_path: Path, make_record: Any, of_a: int, of_b: int | None, units: str
) -> None:
    for name, right, n in (("good", N - 10, of_a), ("bad", N - 40, of_b)):
        speakers = None if n is None else np.arange(N) * n // N
        save(tmp_path, make_record, name, "ks", np.arange(N) < right, speakers)
    found = only(tmp_path, "good", "bad")
    (ks,) = found.tasks
    assert ks.found.units == units
    assert ks.found.difference == pytest.approx(-25)
    noted = [note for note in found.notes if "whole speakers" in note]
    if units == "speakers":
        # Three of the twelve differ: 2 / 2**3 of the swaps are as extreme.
        assert ks.found.p_value == pytest.approx(2 / 8)
        assert ks.found.n_units == 12
        assert noted == ["tested over whole speakers, since utterances of one speaker are alike: ks (12)"]
    else:
        assert (ks.found.n_units, noted) == (N, [])


def test_the_other_way_round_is_the_mirror(out: Path) -> None:
    one, other = only(out, "good", "bad"), only(out, "bad", "good")
    for x, y in zip(one.tasks, other.tasks, strict=True):
        assert x.found.difference == -y.found.difference
        assert x.found.p_value == pytest.approx(y.found.p_value)
        assert x.found.interval.low == pytest.approx(-y.found.interval.high)


def test_holm_counts_the_tasks(out: Path) -> None:
    alone = only(out, "half", "bad").tasks
    assert [task.column.task for task in alone] == ["ks"]
    assert alone[0].p_holm == alone[0].found.p_value
    both = only(out, "good", "bad").tasks
    assert both[0].p_holm == pytest.approx(2 * both[0].found.p_value)


def test_a_missing_task_is_said(out: Path) -> None:
    found = only(out, "half", "bad")
    assert "sid: left out, no result of Half" in found.notes
    assert found.mean is None


def test_the_mean_is_over_the_tasks_that_count(out: Path, make_record: Any) -> None:
    """The teacher is ahead of both controls on KS and ER, and of log-mel alone on SID."""
    right = {"teacher": (110, 60, 110), "random": (20, 60, 20), "logmel": (20, 20, 20), "good": (110, 50, 100),
             "bad": (80, 52, 94)}  # fmt: skip
    for name, own in right.items():
        system = System(name=name, title=name.title(), kind="teacher" if name == "teacher" else "other", identity=name)
        for task, n in zip(("ks", "sid", "er"), own, strict=True):
            save(out, make_record, name, task, np.arange(N) < n, system=system)
    found = only(out, "good", "bad")
    assert [task.column.task for task in found.tasks] == ["ks", "sid", "er"]
    assert found.mean is not None
    assert found.mean.difference == pytest.approx(100 / N * (-30 - 6) / 2)
    text = " ".join(to_text(found).split())
    assert "the mean leaves out sid. A task counts where the teacher is better than" in text
    assert "Standard errors by which the teacher leads: sid +0.0 before random, +" in text
    for path in (out / "demo" / "teacher").glob("er-*"):
        path.unlink()
    found = only(out, "good", "bad")
    ks = found.tasks[0]
    assert found.mean is not None
    assert found.mean.difference == ks.found.difference, "KS alone counts, as in the table's mean"
    assert ks.p_holm == ks.found.p_value
    among_all = holm([task.found.p_value for task in found.tasks])
    assert [task.p_holm for task in found.tasks[1:]] == pytest.approx(among_all[1:])
    assert found.left_out is not None
    assert found.left_out.startswith("the mean leaves out sid, er. ")
    for path in (out / "demo" / "random").glob("*"):
        path.unlink()
    found = only(out, "good", "bad")
    assert (found.mean is None, found.left_out) == (False, None), "nobody knows"


def test_tasks_are_corrected_for_those_that_count() -> None:
    p_values = [("ks", 0.01), ("sid", 0.5), ("pr", 0.03), ("er", 0.02)]
    assert _corrected(p_values, []) == pytest.approx(holm([0.01, 0.5, 0.03, 0.02]))
    assert _corrected(p_values, ["sid", "er"]) == pytest.approx([0.02, 0.5, 0.03, 0.06])
    assert _corrected(p_values, ["ks", "sid", "pr", "er"]) == pytest.approx(holm([0.01, 0.5, 0.03, 0.02]))


def test_synthetic_speech_has_no_mean(tmp_path: Path, make_record: Any) -> None:
    for name in ("good", "bad"):
        for task, n in (("ks", 90), ("sid", 50)):
            save(tmp_path, make_record, name, task, np.arange(N) < n, synthetic=True)
    found = only(tmp_path, "good", "bad")
    assert len(found.tasks) == 2
    assert (found.mean, found.left_out) == (None, SYNTHETIC)
    assert SYNTHETIC in " ".join(to_text(found).split())


def test_several_seeds_need_no_caveat(out: Path, make_record: Any) -> None:
    for name, n in (("good", 105), ("bad", 85), ("half", 105)):
        save(out, make_record, name, "ks", np.arange(N) < n, seed=1)
    found = only(out, "half", "bad")
    assert found.tasks[0].found.n_seeds == (2, 2)
    assert not any(note.startswith("one seed") for note in found.notes)


def test_seeds_that_failed_do_not_count(out: Path, make_record: Any) -> None:
    make_record("good", "ks", None, seed=1).save(out)
    assert only(out, "good", "bad").tasks[0].found.n_seeds == (1, 1)


def test_unreadable_predictions_leave_the_task_out(out: Path) -> None:
    (out / "demo" / "bad" / "ks-s0.predictions.jsonl").unlink()
    found = only(out, "good", "bad")
    assert [task.column.task for task in found.tasks] == ["sid"]
    assert any(note.startswith("ks: left out, ") and "cannot be read" in note for note in found.notes)


def test_names(out: Path, make_record: Any, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match=r"unknown measured system 'gud'\. Did you mean 'good'"):
        compare_systems(table(out), "gud", "bad")
    with pytest.raises(UsageError, match="both names mean 'Good'"):
        compare_systems(table(out), "good", "Good")
    save(out, make_record, "good", "er", np.arange(N) < 9, identity="another")
    with pytest.raises(UsageError, match=r"'good' fits 2 rows .* Name one of: run:good@.*run:good@"):
        compare_systems(table(out), "good", "bad")
    assert only(out, "good@good", "bad").a == "Good [good]"
    assert only(out, "run:good@good", "run:bad").b == "Bad"


def test_systems_on_other_data_cannot_be_compared(out: Path, make_record: Any) -> None:
    save(out, make_record, "other", "ks", np.arange(N) < 9, fingerprint="e" * 64)
    with pytest.raises(UsageError, match="no section in common"):
        compare_systems(table(out), "good", "other")


def test_a_rerun_beside_the_shipped_one(out: Path) -> None:
    both = build([collect(out, origin="run"), collect(out, origin="shipped")])
    (found,) = compare_systems(both, "shipped:good", "run:good")
    assert (found.a, found.b) == ("shipped:Good", "run:Good")
    assert {task.found.p_value for task in found.tasks} == {1}
    assert sorted(row.origin for row in both.sections[0].rows if row.system == "good") == ["run", "shipped"]
    plain = only_of(both, "good", "bad")
    assert plain.tasks[0].found.difference == pytest.approx(-25), "of one model that was run here and shipped, the run"


def test_the_command_reads_the_folder_that_run_writes(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "folder", lambda kind: out / "nothing")
    (out / "results").mkdir()
    (out / "demo").rename(out / "results" / "demo")
    monkeypatch.chdir(out)
    done = CliRunner().invoke(app, ["compare", "good", "bad"])
    assert done.exit_code == 0, done.output
    assert "Bad is worse than Good by 25.0 points" in done.output
    found = skill_bench.compare("good", "bad")
    assert f"{found}\n" == done.output, "Python reads and says the same"
    frame = found.frame
    assert frame["task"].tolist() == ["ks", "sid", "mean"]
    assert frame["n_units"].tolist()[:2] == [N, N]
    assert isinstance(frame["n_units"][0], int | np.integer)
    assert frame["n_units"].isna().tolist() == [False, False, True]
    assert frame["low_points"][2] < frame["difference_points"][2] < frame["high_points"][2]


def test_the_command(out: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(catalog, "folder", lambda kind: tmp_path / "nothing")
    target = tmp_path / "numbers.csv"
    done = CliRunner().invoke(app, ["compare", "good", "bad", "--results", str(out), "--csv", str(target)])
    assert done.exit_code == 0, done.output
    line = next(line for line in done.output.splitlines() if line.startswith("KS acc % ↑"))
    assert line.split()[4:7] == ["91.67", "66.67", "-25.00"]
    assert "Bad is worse than Good by 25.0 points" in done.output
    rows = list(csv.DictReader(target.read_text().splitlines()))
    assert [row["task"] for row in rows] == ["ks", "sid", "mean"]
    assert float(rows[0]["difference_points"]) == pytest.approx(-25)
    assert [row["unit"] for row in rows] == ["percent", "percent", "points"]
    assert float(rows[2]["difference_points"]) == pytest.approx((-25 + 100 * 2 / N) / 2)
    assert rows[2]["verdict"] in done.output
    assert (rows[2]["p_value_holm"], rows[2]["a_value"]) == ("", ""), "one test, and of a difference alone"


def test_words() -> None:
    assert verdict(3.24, 1, 5, shown=True, a="A", b="B") == "B is better than A by 3.2 points"
    assert verdict(0, -1.25, 0.0, shown=False, a="A", b="B") == ("no difference shown: B may be up to 1.2 points worse")
    assert verdict(0, -0.04, 0.0, shown=False, a="A", b="B") == (
        "no difference shown: A and B are equal to a tenth of a point"
    )
    for low, high in ((0.3, 2.5), (-2.5, -0.3)):  # the test shows nothing, corrected for others, say
        said = verdict(1, low, high, shown=False, a="A", b="B")
        assert said == "no difference shown: A and B are too close to call", "no interval that says the opposite"
    assert (p_text(0.0004), p_text(0.0123)) == ("< 0.001", "0.012")


def test_each_side_says_where_it_was_measured(out: Path, make_record: Any) -> None:
    shipped = out / "shipped"
    place = make_record().provenance
    hardware = place.hardware.model_copy(update={"cpu_model": "Another CPU", "gpus": None})
    git = Git(commit="0123456789abcdef", dirty=True)
    elsewhere = place.model_copy(update={"hardware": hardware, "git": git})
    save(shipped, make_record, "old", "ks", np.arange(N) < N - 20, provenance=elsewhere)
    both = build([collect(out, origin="run"), collect(shipped, origin="shipped")])
    found = only_of(both, "good", "old")
    here = place.hardware.cpu_model or "unknown CPU"
    assert found.measured[0].startswith(f"run here, measured on {here}, ")
    assert found.measured[1] == "comes with skill-bench, measured on Another CPU, commit 01234567 with changes"
    text = to_text(found)
    assert "\nB: Old, comes with skill-bench, measured on Another CPU, commit 01234567" in text
    assert max(map(len, text.splitlines())) <= 80


def test_nothing_in_common_is_said(out: Path, make_record: Any) -> None:
    save(out, make_record, "asr", "er", np.arange(N) < 9)
    assert "nothing to compare" in to_text(only(out, "asr", "half"))
