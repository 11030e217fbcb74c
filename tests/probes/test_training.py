"""The trainer's rules, on a problem whose dev scores are written down.

Several seeds as one computation give what each gives alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from fake_speech import FakeUpstream, class_data, sequence_data
from kind_data import load_trained
from torch import Tensor

from skill_bench.corpora.data import TaskData
from skill_bench.evaluation.cell_result import run_cells
from skill_bench.evaluation.kinds.utterance.problem import LabelProblem
from skill_bench.evaluation.task_files import load_task
from skill_bench.features.extract import extract
from skill_bench.probes import batches
from skill_bench.probes.heads import Randomness
from skill_bench.probes.parameters import Parameters
from skill_bench.probes.selection import DevScore
from skill_bench.probes.training import Batch, GridResult, generator_for, train_grid
from skill_bench.tasks import Protocol, TaskSpec

RATES = (1.0, 0.5)
CPU = torch.device("cpu")
SEEDS = (0, 3, 5)


class Scripted:
    """Dev errors of 10, losses and noise by evaluation and learning rate; the parameter counts the steps."""

    def __init__(
        self, errors: Sequence[Sequence[float]], losses: Sequence[Sequence[float]], *, noise: float = 0.0
    ) -> None:
        self.script = list(zip(errors, losses, strict=True))
        self.evaluations, self.noise = 0, noise
        self.scored: list[Tensor] = []

    stack = None

    def initial(self, generator: torch.Generator) -> Parameters:
        return {"x": torch.zeros(1)}

    def batches(self, generator: torch.Generator) -> Iterator[Batch[list[int]]]:
        while True:
            yield Batch(features=torch.zeros(1, 1, 1), lengths=[1], labels=[[0]])

    def losses(self, parameters: Parameters, batch: Batch[list[int]], randomness: Randomness | None) -> Tensor:
        return -parameters["x"][:, 0]

    def score(self, parameters: Parameters) -> list[DevScore]:
        """Which learning rate a cell has follows from how far its parameter has come, one learning rate a step."""
        errors, losses = self.script[self.evaluations]
        self.evaluations += 1
        self.scored.append(parameters["x"][:, 0].detach().clone())
        steps = 2 * self.evaluations
        cells = [min((0, 1), key=lambda c: abs(float(x) - steps * RATES[c])) for x in self.scored[-1]]
        return [DevScore(value=10.0 * errors[c], loss=losses[c], noise=self.noise) for c in cells]


def _train(problem: Scripted, *, earlier: GridResult | None = None, **settings: object) -> tuple[GridResult, list[int]]:
    protocol = Protocol(
        **{"learning_rates": (1.0, 0.5), "steps": 2 * len(problem.script), "evaluate_every_steps": 2, **settings}  # type: ignore[arg-type]
    )
    advanced: list[int] = []
    [result] = train_grid(
        problem,
        protocol,
        higher_is_better=False,
        seeds=[0],
        fold="f",
        device=torch.device("cpu"),
        advance=advanced.append,
        earlier=[] if earlier is None else [earlier],
    )
    assert sum(advanced) == protocol.steps
    return result, advanced


def test_the_checkpoint_with_the_best_dev_metric_is_kept() -> None:
    result, _ = _train(Scripted([[5, 9], [3, 8], [4, 8]], [[1.0, 1.0]] * 3))
    assert [(t.dev.step, t.dev.value) for t in result.trained] == [(4, 30.0), (4, 80.0)]
    # Adam moves a parameter with a constant gradient by its learning rate at every step
    assert result.trained[0].parameters["x"].item() == pytest.approx(4.0, rel=1e-4)
    assert result.trained[1].parameters["x"].item() == pytest.approx(2.0, rel=1e-4)


def test_equal_metrics_are_decided_by_the_loss_then_by_the_earlier_step() -> None:
    result, _ = _train(Scripted([[5, 5], [5, 5], [5, 5]], [[2.0, 1.0], [1.0, 2.0], [1.0, 1.0]]))
    assert [t.dev.step for t in result.trained] == [4, 2]


def test_not_a_number_is_never_a_checkpoint_if_there_is_another() -> None:
    result, _ = _train(Scripted([[0, 5], [9, 5]], [[math.nan, 1.0], [3.0, 1.0]]))
    assert (result.trained[0].dev.step, result.trained[0].dev.value) == (4, 90.0)
    assert [(p.value, p.loss) for p in result.curve if p.step == 2] == [(None, None), (50.0, 1.0)]


def test_patience_waits_while_the_loss_improves() -> None:
    errors = [[10, 10]] * 6
    falling = [[6.0, 9.0], [5.0, 9.0], [4.0, 9.0], [4.0, 9.0], [4.0, 9.0], [4.0, 9.0]]
    result, _ = _train(Scripted(errors, falling), patience_evaluations=2)
    assert result.steps == 10


@pytest.mark.parametrize(
    ("errors", "noise", "stay"),
    [
        ([9, 8], 0.0, {0.5}),
        ([8, 9], 0.0, {1.0}),
        ([8, 8], 0.0, {1.0, 0.5}),
        # two standard errors of the difference of two values: 10 points are 2 x 5, and each has 5 / sqrt(2)
        ([9, 8], 3.6, {1.0, 0.5}),
        ([9, 8], 3.5, {0.5}),
        # above 100 % more errors are no worse
        ([10, 15], 0.0, {1.0, 0.5}),
        ([15, 9], 0.0, {0.5}),
        ([9.98, 10], 0.2, {1.0, 0.5}),
    ],
)
def test_the_race_is_lost_only_to_a_value_that_noise_does_not_explain(
    errors: list[float], noise: float, stay: set[float]
) -> None:
    problem = Scripted([errors, errors], [[3.0, 2.0]] * 2, noise=noise)
    result, _ = _train(problem, keep_best_after_steps=2)
    assert {point.learning_rate for point in result.curve if point.step == 4} == stay
    assert set(result.lost_race) == set(RATES) - stay


def test_only_the_winner_of_a_race_goes_on() -> None:
    problem = Scripted([[10, 9], [10, 9], [10, 8]], [[3.0, 2.0], [3.0, 2.0], [3.0, 2.0]])
    result, _ = _train(problem, keep_best_after_steps=2)
    assert [(p.learning_rate, p.step) for p in result.curve] == [(1.0, 2), (0.5, 2), (0.5, 4), (0.5, 6)]
    assert result.trained[1].dev.value == 80.0
    assert result.trained[1].parameters["x"].item() == pytest.approx(3.0, rel=1e-4)


def test_a_learning_rate_that_diverged_loses_the_race() -> None:
    problem = Scripted([[1, 9], [1, 9]], [[math.nan, 2.0]] * 2, noise=100.0)
    result, _ = _train(problem, keep_best_after_steps=2)
    assert result.lost_race == (1.0,)


@pytest.mark.parametrize(("errors", "lost"), [([9, 8], (1.0,)), ([8, 9], ())])
def test_learning_rates_that_were_trained_before_take_part_in_the_race(
    errors: list[float], lost: tuple[float, ...]
) -> None:
    """Alone, one after the other, they find what they find side by side."""
    script = ([errors, errors], [[3.0, 2.0]] * 2)
    before, _ = _train(Scripted(*script), keep_best_after_steps=2, learning_rates=(0.5,))
    after, _ = _train(Scripted(*script), keep_best_after_steps=2, learning_rates=(1.0,), earlier=before)
    assert (before.lost_race, after.lost_race) == ((), lost)
    together, _ = _train(Scripted(*script), keep_best_after_steps=2)
    assert [p for p in together.curve if p.learning_rate == 1.0] == list(after.curve)
    joined = before.joined(after)
    assert [t.dev.learning_rate for t in joined.trained] == [0.5, 1.0]
    assert joined.leader is not None
    assert joined.leader.value == 80.0


def test_a_learning_rate_stops_by_itself() -> None:
    """One gets better to the end, the other never: what each finds is what it finds alone."""
    errors, losses = [[5, 9 - n] for n in range(5)], [[1.0, 1.0]] * 5
    result, _ = _train(Scripted(errors, losses), patience_evaluations=2)
    steps = {rate: [p.step for p in result.curve if p.learning_rate == rate] for rate in RATES}
    assert steps == {1.0: [2, 4, 6], 0.5: [2, 4, 6, 8, 10]}
    for rate in RATES:
        alone, _ = _train(Scripted(errors, losses), patience_evaluations=2, learning_rates=(rate,))
        assert list(alone.curve) == [p for p in result.curve if p.learning_rate == rate]


@pytest.mark.parametrize(("last", "scored"), [(1, [2, 4, 6, 8]), (2, [2, 3, 5, 7]), (3, [2, 3, 4, 6])])
def test_the_mean_of_the_last_dev_points_is_scored_and_kept(last: int, scored: list[float]) -> None:
    problem = Scripted([[9, 9], [8, 8], [7, 7], [6, 6]], [[1.0, 1.0]] * 4)
    result, _ = _train(problem, average_last=last, learning_rates=(1.0,))
    assert torch.cat(problem.scored).tolist() == pytest.approx(scored, rel=1e-4)
    assert result.trained[0].parameters["x"].item() == pytest.approx(scored[-1], rel=1e-4)


def test_means_follow_the_learning_rates_that_go_on() -> None:
    """The mean of two points of the learning rate that stays, not of the one that lost."""
    problem = Scripted([[9, 8], [9, 8]], [[1.0, 1.0]] * 2)
    result, _ = _train(problem, average_last=2, keep_best_after_steps=2)
    assert result.trained[1].dev.step == 2
    assert problem.scored[1].tolist() == pytest.approx([(1.0 + 2.0) / 2], rel=1e-4)


def test_dev_is_read_at_the_last_step_too() -> None:
    result, advanced = _train(Scripted([[5, 5], [4, 4]], [[1.0, 1.0]] * 2), steps=3)
    assert [p.step for p in result.curve] == [2, 2, 3, 3]
    assert advanced == [1, 1, 1, 0]


def test_generators_differ_by_purpose_and_are_the_same_everywhere() -> None:
    first = torch.randint(0, 2**31, (1,), generator=generator_for(0, "f", "init"))
    assert torch.equal(first, torch.randint(0, 2**31, (1,), generator=generator_for(0, "f", "init")))
    assert not torch.equal(first, torch.randint(0, 2**31, (1,), generator=generator_for(0, "f", "order")))
    assert not torch.equal(first, torch.randint(0, 2**31, (1,), generator=generator_for(1, "f", "init")))


@pytest.mark.parametrize(("patience", "steps"), [(1, 4), (2, 6), (3, 8), (None, 12)])
def test_patience_alone_decides_when_training_stops(patience: int | None, steps: int) -> None:
    """Nothing improves after the first of six evaluations, two steps apart."""
    settings: dict[str, Any] = {} if patience is None else {"patience_evaluations": patience}
    result, _ = _train(Scripted([[5, 5]] * 6, [[1.0, 1.0]] * 6), **settings)
    assert result.steps == steps
    assert max(point.step for point in result.curve) == steps


@pytest.mark.parametrize(("errors", "losses"), [([[5, 5], [5, 4], [5, 4]], [1.0] * 3), ([[5, 5]] * 3, [1.0, 0.9, 0.9])])
def test_a_better_metric_or_a_lower_loss_of_any_learning_rate_alone_is_waited_for(
    errors: list[list[int]], losses: list[float]
) -> None:
    problem = Scripted([*errors, errors[-1]], [[1.0, loss] for loss in (*losses, losses[-1])])
    result, _ = _train(problem, patience_evaluations=1)
    assert result.steps == 6


def test_gradients_of_passes_that_are_accumulated_are_averaged() -> None:
    """The loss is the parameter's negative: without clipping its gradient is -1 whatever the number of passes."""
    seen: list[float] = []

    class Watched(Scripted):
        def losses(self, parameters: Parameters, batch: Batch[list[int]], randomness: Randomness | None) -> Tensor:
            if not seen:
                parameters["x"].register_hook(lambda g: seen.append(float(g[0, 0])))  # type: ignore[no-untyped-call]
            return super().losses(parameters, batch, randomness)

    _train(Watched([[5, 5]], [[1.0, 1.0]]), accumulate=4, learning_rates=(1.0, 0.5))
    assert seen[:4] == [-0.25] * 4


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
    monkeypatch.setattr(batches, "RESIDENT_BYTES", 100)
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
