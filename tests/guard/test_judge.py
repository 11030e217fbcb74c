"""The guard's rules: how often it cries wolf, what it catches, what it says. Nothing is run.

What the documentation of the guard tells people to type exists.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import made_samples as made
import numpy as np
import pytest
import typer
import yaml
from jaxtyping import Float
from numpy import ndarray

from skill_bench.base import catalog
from skill_bench.base.archive import files
from skill_bench.cli.main import app
from skill_bench.guard.baseline import Costs
from skill_bench.guard.findings import Finding
from skill_bench.guard.judge import ALL_TASKS, COUNTING, Rules, judge_costs, judge_tasks
from skill_bench.records.record import Record, read_predictions
from skill_bench.report import comparison
from skill_bench.report.table.entry import FoundRecord

Entries = dict[str, list[FoundRecord]]
DOCS = Path(__file__).parents[2] / "docs"
COMMANDS = re.findall(r"^(?: *run: )?(skill-bench check .*)$", (DOCS / "guard.md").read_text(), re.MULTILINE)


@pytest.fixture
def entries_of(make_record: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, list[made.Rows]]], Entries]:
    """Records of rows by task and seed; the rows stay in memory."""
    stored: dict[int, made.Rows] = {}
    kept = []
    monkeypatch.setattr(comparison, "predictions_of", lambda entry: stored[id(entry)])

    def make(rows: dict[str, list[made.Rows]]) -> Entries:
        found: Entries = {}
        for task, by_seed in rows.items():
            for seed, own in enumerate(by_seed):
                entry = FoundRecord(record=make_record("student", task, 50, seed=seed))
                kept.append(entry)  # an id must not come back while it is a key
                stored[id(entry)] = own
                found.setdefault(task, []).append(entry)
        return found

    return make


class Student:
    """A simulated student: each item of two tasks has a difficulty; a training seed shifts all items of a task."""

    SIZES: ClassVar = {"ks": 90, "pr": 60}

    def __init__(self, generator: np.random.Generator, *, sd_of_seeds: float) -> None:
        self.generator, self.sd = generator, sd_of_seeds
        self.difficulty = {task: generator.normal(0, 2, n) for task, n in self.SIZES.items()}
        self.lengths = generator.integers(8, 25, self.SIZES["pr"])

    def run(self, n_seeds: int, *, drop: float = 0) -> dict[str, list[made.Rows]]:
        """Predictions of one run, ``drop`` points worse on every task in expectation."""
        return {task: [self._rows(task, drop / 100) for _ in range(n_seeds)] for task in self.SIZES}

    def _rows(self, task: str, drop: float) -> made.Rows:
        p: Float[ndarray, " items"] = made.logistic(1.5 + self.difficulty[task] + self.generator.normal(0, self.sd))
        p = np.clip(p - drop, 0, 1)
        if task == "pr":
            return made.error_rows(self.generator.binomial(self.lengths, 1 - p), self.lengths)
        return made.label_rows(self.generator.random(len(p)) < p)


def failed(findings: list[Finding]) -> list[str]:
    return [finding.name for finding in findings if finding.status != "passed"]


def test_false_alarms_over_200_reruns_are_at_most_the_level(entries_of: Any) -> None:
    """The same student is run again with other noise, three seeds. An alarm is any failed finding."""
    g = np.random.default_rng(0)
    alarms = 0
    for _ in range(200):
        student = Student(g, sd_of_seeds=0.3)
        findings = judge_tasks(entries_of(student.run(3)), entries_of(student.run(3)), Rules(level=0.05))
        alarms += bool(failed(findings))
    assert alarms <= 0.05 * 200


def test_false_alarms_with_one_seed_when_reruns_differ_item_by_item(entries_of: Any) -> None:
    g = np.random.default_rng(1)
    alarms = 0
    for _ in range(200):
        student = Student(g, sd_of_seeds=0)
        alarms += bool(failed(judge_tasks(entries_of(student.run(1)), entries_of(student.run(1)), Rules())))
    assert alarms <= 0.05 * 200


def test_a_large_drop_is_caught_through_all_the_noise(entries_of: Any) -> None:
    g = np.random.default_rng(2)
    caught = 0
    for _ in range(10):
        student = Student(g, sd_of_seeds=0.1)
        caught += bool(failed(judge_tasks(entries_of(student.run(3)), entries_of(student.run(3, drop=12)), Rules())))
    assert caught >= 9


def shipped(name: str = "skill") -> dict[str, tuple[Record, made.Rows]]:
    """Stored predictions of a bundled system on the demo suite."""
    found = files(catalog.folder("leaderboard") / "results")
    paths = [path for file, path in found.items() if file.startswith(f"demo/{name}/") and file.endswith("-s0.json")]
    records = {path: Record.read(path) for path in sorted(paths)}
    return {
        record.key.task: (record, read_predictions(path, record))
        for path, record in records.items()
        if record.metric in ("accuracy", "per", "wer") and record.task_spec["kind"] != "multilabel"
    }


def on_disk(folder: Path, name: str, points: float) -> Entries:
    found: Entries = {}
    for task, (record, rows) in shipped(name).items():
        found[task] = [made.saved(folder, record, made.worse(record, rows, points) if points else rows)]
    return found


def test_a_drop_of_three_points_on_stored_predictions_is_caught(tmp_path: Path) -> None:
    before = on_disk(tmp_path / "before", "skill", 0)
    after = on_disk(tmp_path / "after", "skill", 3)
    assert len(before) >= 5
    for task, entries in after.items():
        (own,), (its,) = entries, before[task]
        change = own.record.metrics[own.record.metric].value - its.record.metrics[its.record.metric].value  # type: ignore[operator]
        assert abs(change) == pytest.approx(3, abs=1.2), "a point is at least one item"
    findings = judge_tasks(before, after, Rules(level=0.05))
    assert ALL_TASKS in failed(findings)
    assert failed(judge_tasks(before, before, Rules(level=0.5))) == []


def test_an_unchanged_rerun_of_stored_predictions_passes_with_differences_of_zero(tmp_path: Path) -> None:
    before = on_disk(tmp_path / "before", "dphubert", 0)
    findings = judge_tasks(before, on_disk(tmp_path / "after", "dphubert", 0), Rules(level=0.5, margin_points=0))
    assert failed(findings) == []
    assert all("+0.00 points" in finding.message for finding in findings)


def test_a_margin_needs_no_proof(entries_of: Any) -> None:
    before = {"ks": [made.label_rows(np.arange(50) < 40)]}
    after = {"ks": [made.label_rows(np.arange(50) < 38)]}
    assert failed(judge_tasks(entries_of(before), entries_of(after), Rules())) == []
    (finding,) = judge_tasks(entries_of(before), entries_of(after), Rules(margin_points=3))
    assert finding.status == "failed"
    assert "worse by more than the margin of 3 points" in finding.message
    assert failed(judge_tasks(entries_of(before), entries_of(after), Rules(margin_points=4.5))) == []
    assert failed(judge_tasks(entries_of(after), entries_of(before), Rules(margin_points=0))) == [], "better is fine"


def test_what_does_not_count_is_judged_alone(entries_of: Any) -> None:
    before = {task: [made.label_rows(np.arange(100) < 90)] for task in ("ks", "sid", "er")}
    after = {task: [made.label_rows(np.arange(100) < n)] for task, n in (("ks", 89), ("sid", 87), ("er", 60))}
    whole = judge_tasks(entries_of(before), entries_of(after), Rules())
    assert [finding.name for finding in whole] == ["ks", "sid", "er", ALL_TASKS]
    assert whole[-1].now == "-11.33"
    *alone, mean = judge_tasks(entries_of(before), entries_of(after), Rules(), left_out=["er"])
    assert (mean.name, mean.now) == (COUNTING, "-2.00")
    assert failed(alone) == ["er"]
    one = judge_tasks(entries_of(before), entries_of(after), Rules(), left_out=["er", "sid"])
    assert [finding.name for finding in one] == ["ks", "sid", "er"]


def test_level_zero_leaves_the_test_out(entries_of: Any) -> None:
    before = {"ks": [made.label_rows(np.ones(50))]}
    after = {"ks": [made.label_rows(np.zeros(50))]}
    assert failed(judge_tasks(entries_of(before), entries_of(after), Rules())) == ["ks"]
    assert failed(judge_tasks(entries_of(before), entries_of(after), Rules(level=0))) == []


def test_what_cannot_be_compared_is_an_error(entries_of: Any, make_record: Any) -> None:
    rows = {"ks": [made.label_rows(np.ones(9))]}
    before = entries_of(rows)
    (missing,) = judge_tasks({}, entries_of(rows), Rules())
    assert (missing.status, "the baseline has no record of it" in missing.message) == ("error", True)
    other = [FoundRecord(record=make_record("student", "ks", 50, fingerprint="e" * 64))]
    (data,) = judge_tasks(before, {"ks": other}, Rules())
    assert "another task version, data or settings" in data.message
    broken = [FoundRecord(record=make_record("student", "ks", None))]
    (failure,) = judge_tasks(before, {"ks": broken}, Rules())
    assert failure.message == "ks failed: AudioError: a.wav: empty"
    (nothing,) = judge_tasks(before, {"ks": []}, Rules())
    assert nothing.status == "error"


def costs(**changes: Any) -> Costs:
    return Costs(parameters=100, macs=2000, throughput_ratio=2.0, reference="r").model_copy(update=changes)


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (costs(), []),
        (costs(parameters=101), ["parameters"]),
        (costs(parameters=99, macs=1999), ["parameters", "MACs"]),
        (costs(macs=None), ["MACs"]),
        (costs(throughput_ratio=1.41), []),
        (costs(throughput_ratio=1.39), ["throughput"]),
        (costs(throughput_ratio=9.0), []),
        (costs(throughput_ratio=None), []),
    ],
)
def test_costs(now: Costs, expected: list[str]) -> None:
    assert failed(judge_costs(costs(), now, Rules(throughput_loss=0.3))) == expected


def test_another_reference_model_is_not_compared() -> None:
    findings = judge_costs(costs(), costs(reference="s", throughput_ratio=0.1), Rules())
    assert [finding.name for finding in findings] == ["parameters", "MACs"]


def test_rules_are_said() -> None:
    assert "paired one-sided test at level 0.05" in Rules().describe()
    assert "worse by more than 2 points" in Rules(level=0, margin_points=2).describe()


def workflow_commands() -> list[str]:
    workflow = yaml.safe_load((DOCS / "examples" / "skill-bench-check.yml").read_text())
    steps = workflow["jobs"]["check"]["steps"]
    return [step["run"] for step in steps if step.get("run", "").startswith("skill-bench")]


def test_there_are_commands() -> None:
    assert len(COMMANDS) == 3
    assert len(workflow_commands()) == 1


@pytest.mark.parametrize("command", [*COMMANDS, *workflow_commands()])
def test_every_option_exists(command: str) -> None:
    known = {option for parameter in typer.main.get_command(app).commands["check"].params for option in parameter.opts}  # type: ignore[attr-defined]
    used = {word for word in shlex.split(command) if word.startswith("--")}
    assert used
    assert used <= known
