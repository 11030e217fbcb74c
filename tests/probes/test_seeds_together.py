"""Several seeds as one computation give what each gives alone."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from fake_speech import FakeUpstream, class_data, sequence_data
from kind_data import load_trained

from skill_bench.corpora.data import TaskData
from skill_bench.evaluation.cell_result import run_cells
from skill_bench.evaluation.kinds.utterance.problem import LabelProblem
from skill_bench.evaluation.task_files import load_task
from skill_bench.features.extract import extract
from skill_bench.probes import frames
from skill_bench.probes.training import GridResult, train_grid
from skill_bench.tasks import Protocol, TaskSpec

CPU = torch.device("cpu")
SEEDS = (0, 3, 5)


def problem(folder: Path, **settings: object) -> LabelProblem:
    data = class_data(folder / "audio", n_each=9)
    features = extract(FakeUpstream(), data.utterances(), pooled=True, cache_dir=folder)
    task = load_trained("ks").for_suite("demo")
    protocol = task.protocol.model_copy(
        update={"steps": 24, "evaluate_every_steps": 4, "batch_size": 4, "sampling": "shuffle", **settings}
    )
    return LabelProblem(
        task=task.model_copy(update={"protocol": protocol}),
        fold=data.folds[0], train=features, held_out=features, device=CPU,
    )  # fmt: skip


def train(made: LabelProblem, seeds: tuple[int, ...]) -> list[GridResult]:
    return train_grid(
        made, made.task.protocol, higher_is_better=True, seeds=seeds, fold="f", device=CPU, advance=lambda n: None
    )


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"sampling": "class_balanced"},
        {"keep_best_after_steps": 8},
        {"patience_evaluations": 1, "learning_rates": (3.0, 1e-1)},
        {"patience_evaluations": 1, "keep_best_after_steps": 8, "learning_rates": (3.0, 1e-1, 1e-5)},
        {"accumulate": 2},
    ],
)
def test_seeds_together_equal_seeds_alone(settings: dict[str, object], tmp_path: Path) -> None:
    made = problem(tmp_path, **settings)
    together = train(made, SEEDS)
    assert len(together) == len(SEEDS)
    for seed, joint in zip(SEEDS, together, strict=True):
        [alone] = train(made, (seed,))
        assert joint.steps == alone.steps
        assert [(p.learning_rate, p.step, p.value) for p in joint.curve] == [
            (p.learning_rate, p.step, p.value) for p in alone.curve
        ]
        for mine, its in zip(joint.trained, alone.trained, strict=True):
            assert mine.dev.step == its.dev.step
            # Equal up to the order of float32 sums, over two dozen steps of Adam.
            assert mine.dev.loss == pytest.approx(its.dev.loss, rel=1e-4)
            for name, value in mine.parameters.items():
                torch.testing.assert_close(value, its.parameters[name], rtol=1e-4, atol=1e-5)
    first, second, _ = together
    assert not torch.equal(first.trained[0].parameters["output.weight"], second.trained[0].parameters["output.weight"])


def test_some_seed_stops_before_another(tmp_path: Path) -> None:
    """The case above with patience covers what it says only if this holds."""
    made = problem(tmp_path, patience_evaluations=1, learning_rates=(3.0, 1e-1), steps=40)
    assert len({result.steps for result in train(made, (0, 1, 2, 3, 4, 5))}) > 1


def test_a_diverging_seed_leaves_the_others_alone(tmp_path: Path) -> None:
    made = problem(tmp_path, learning_rates=(1e-2,))
    [expected] = train(made, (5,))
    whole = made.losses

    def poisoned(*arguments: object) -> torch.Tensor:
        return whole(*arguments) * torch.tensor([math.nan, 1.0, 1.0])  # type: ignore[arg-type]

    made.losses = poisoned  # type: ignore[method-assign, assignment]
    found = train(made, SEEDS)[2]
    torch.testing.assert_close(
        found.trained[0].parameters["output.weight"],
        expected.trained[0].parameters["output.weight"],
        rtol=1e-4,
        atol=1e-5,
    )


def test_means_that_do_not_fit_memory_are_read_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [resident] = train(problem(tmp_path), (0,))
    monkeypatch.setattr(frames, "RESIDENT_BYTES", 100)
    made = problem(tmp_path)
    assert made.rows._resident is None
    [read] = train(made, (0,))
    assert read.curve == resident.curve


def short(name: str, **changes: object) -> TaskSpec:
    task = load_task(name).for_suite("demo")
    protocol = Protocol(**{**task.protocol.model_dump(), "steps": 6, "evaluate_every_steps": 3, **changes})
    return task.model_copy(update={"protocol": protocol})


@pytest.mark.parametrize("name", ["ks", "pr"])
def test_cells_of_several_seeds_read_the_upstream_once(name: str, tmp_path: Path) -> None:
    data: TaskData = class_data(tmp_path / "a") if name == "ks" else sequence_data(tmp_path / "a", task=name)
    task, upstream = short(name), FakeUpstream()
    results = list(run_cells(upstream, task, data, seeds=(0, 1), cache_dir=tmp_path))
    assert sum(upstream.calls) == len(data.utterances())
    assert len(results) == 2
    for seed, found in zip((0, 1), results, strict=True):
        [alone] = run_cells(FakeUpstream(), task, data, seeds=(seed,), cache_dir=tmp_path)
        assert [row["prediction"] for row in found.predictions] == [row["prediction"] for row in alone.predictions]
        assert found.selection.learning_rate == alone.selection.learning_rate
        assert found.layer_weights == pytest.approx(alone.layer_weights, rel=1e-4)


def test_a_limited_cache_is_said_in_the_record(tmp_path: Path) -> None:
    data = sequence_data(tmp_path / "a", task="pr", n_train=10)
    [found] = run_cells(FakeUpstream(), short("pr"), data, seeds=(0,), cache_dir=tmp_path, cache_limit_bytes=1)
    assert any("do not fit the cache limit" in note for note in found.notes)
    [whole] = run_cells(FakeUpstream(), short("pr"), data, seeds=(0,), cache_dir=tmp_path / "whole")
    assert [row["prediction"] for row in found.predictions] == [row["prediction"] for row in whole.predictions]


def test_an_added_learning_rate_is_what_it_would_have_been_in_the_grid(tmp_path: Path) -> None:
    """Whole heads, batches and patience: trained beside others, or afterwards and alone."""
    rates = (3.0, 1e-1, 1e-3)
    settings: dict[str, object] = {"patience_evaluations": 2, "keep_best_after_steps": 8}
    [whole] = train(problem(tmp_path, learning_rates=rates, **settings), (3,))
    [before] = train(problem(tmp_path, learning_rates=rates[:2], **settings), (3,))
    made = problem(tmp_path, learning_rates=rates[2:], **settings)
    [after] = train_grid(
        made, made.task.protocol, higher_is_better=True, seeds=(3,), fold="f", device=CPU,
        advance=lambda n: None, earlier=[before],
    )  # fmt: skip
    added = [point for point in whole.curve if point.learning_rate == rates[2]]
    assert len(added) > 1
    assert [(p.step, p.value) for p in after.curve] == [(p.step, p.value) for p in added]
    for name, value in after.trained[0].parameters.items():
        # Equal up to the order of float32 sums, over two dozen steps of Adam.
        torch.testing.assert_close(value, whole.trained[2].parameters[name], rtol=1e-4, atol=1e-5)
