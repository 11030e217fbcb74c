"""What all trained kinds share: one learning rate for all folds, by the mean of their best dev metrics."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from fake_speech import FakeUpstream, class_data
from kind_data import load_trained
from torch import Tensor

from skill_bench.base.progress import Silent
from skill_bench.corpora.data import Fold, TaskData
from skill_bench.evaluation.solving.cell import Cell
from skill_bench.evaluation.solving.trained import train_folds
from skill_bench.probes.heads import LAYER_SCORES, Randomness
from skill_bench.probes.parameters import Parameters
from skill_bench.probes.selection import DevScore
from skill_bench.probes.training import Batch
from skill_bench.tasks import with_protocol

RATES = (1e-3, 1e-4)
Points = list[tuple[float, float]]


class Scripted:
    """A fold of two layers whose dev metric and loss are given for each learning rate."""

    stack = None
    noise = 0.0

    def __init__(self, fold: Fold, points: Points, layer_scores: tuple[float, float]) -> None:
        self.fold, self.points, self.layer_scores = fold, points, layer_scores

    def initial(self, generator: torch.Generator) -> Parameters:
        return {LAYER_SCORES: torch.tensor(self.layer_scores)}

    def batches(self, generator: torch.Generator) -> Iterator[Batch[int]]:
        while True:
            yield Batch(features=torch.zeros(1, 1, 1), lengths=[1], labels=[0])

    def losses(self, parameters: Parameters, batch: Batch[int], randomness: Randomness | None) -> Tensor:
        return 0 * parameters[LAYER_SCORES].sum(dim=1)

    def score(self, parameters: Parameters) -> list[DevScore]:
        return [DevScore(value=value, loss=loss, noise=self.noise) for value, loss in self.points]

    def test_rows(self, parameters: Parameters) -> list[dict[str, Any]]:
        return [{"id": self.fold.name, "fold": self.fold.name}]

    def notes(self) -> list[str]:
        return []


class Hill(Scripted):
    """Dev accuracy is the better the nearer the learning rate is to ``best``: the parameter moves by it in one step."""

    def __init__(self, fold: Fold, best: float) -> None:
        super().__init__(fold, [], (0.0, 0.0))
        self.best = best
        self.tried: list[list[float]] = []

    def losses(self, parameters: Parameters, batch: Batch[int], randomness: Randomness | None) -> Tensor:
        return -parameters[LAYER_SCORES][:, 0]

    def score(self, parameters: Parameters) -> list[DevScore]:
        rates = parameters[LAYER_SCORES][:, 0].tolist()
        self.tried.append([float(f"{rate:.3g}") for rate in rates])
        return [DevScore(value=50 - 10 * abs(math.log10(rate / self.best)), loss=1.0) for rate in rates]


def climbed(folder: Path, *best: float, extend_grid: int, rates: tuple[float, ...] = RATES, **settings: Any) -> Any:
    """The result of one seed whose folds have these best learning rates, and what each fold tried."""
    data = class_data(folder / "audio", folds=len(best))
    problems = [Hill(fold, one) for fold, one in zip(data.folds, best, strict=True)]
    found = of_problems(folder, data, problems, extend_grid=extend_grid, learning_rates=rates, **settings)
    return found, [problem.tried for problem in problems]


def solved(folder: Path, *folds: Points, task: str = "er", scores: tuple[tuple[float, float], ...] = ()) -> Any:
    """The result of one seed."""
    data = class_data(folder / "audio", folds=len(folds))
    scores = scores or ((0.0, 0.0),) * len(folds)
    problems = [Scripted(*one) for one in zip(data.folds, folds, scores, strict=True)]
    return of_problems(folder, data, problems, task=task)


def of_problems(
    folder: Path, data: TaskData, problems: Sequence[Scripted], *, task: str = "er", **settings: Any
) -> Any:
    spec = with_protocol(
        load_trained(task).for_suite("demo"),
        **{
            "steps": 1, "evaluate_every_steps": 1, "learning_rates": RATES, "accumulate": 1,
            "patience_evaluations": False, "keep_best_after_steps": False, **settings,
        },
    )  # fmt: skip
    cell = Cell(
        upstream=FakeUpstream(), task=spec, data=data, seeds=(0,), cache_dir=folder,
        progress=Silent(), device=torch.device("cpu"),
    )  # fmt: skip
    [found] = train_folds(cell, problems)
    return found


@pytest.mark.parametrize(
    ("folds", "chosen"),
    [
        # Per fold the metric (accuracy) and loss of both rates. The first, the last and the middle fold decide in turn.
        ([[(60, 1), (50, 1)], [(50, 1), (55, 1)], [(50, 1), (50, 1)]], RATES[0]),
        ([[(60, 1), (50, 1)], [(50, 1), (55, 1)], [(50, 1), (59, 1)]], RATES[1]),
        ([[(60, 1), (50, 1)], [(50, 1), (70, 1)], [(50, 1), (49, 1)]], RATES[1]),
        # Equal means: the mean loss decides, again over all folds.
        ([[(60, 1), (50, 2)], [(50, 2), (60, 2)], [(50, 4), (50, 2)]], RATES[1]),
        ([[(60, 2), (50, 1)], [(50, 1), (60, 1)], [(50, 1), (50, 3)]], RATES[0]),
    ],
)
def test_the_learning_rate_is_that_of_the_best_mean_over_folds(
    folds: list[Points], chosen: float, tmp_path: Path
) -> None:
    found = solved(tmp_path, *folds)
    assert found.selection.learning_rate == chosen
    assert set(found.selection.per_fold.values()) == {chosen}
    assert len(found.selection.per_fold) == 3
    assert [row["id"] for row in found.rows] == ["fold1", "fold2", "fold3"], "each fold's test rows, in order"


def test_where_less_is_better_the_least_mean_is_chosen(tmp_path: Path) -> None:
    folds: list[Points] = [[(60, 1), (50, 1)], [(50, 1), (55, 1)], [(50, 1), (50, 1)]]
    assert solved(tmp_path, *folds, task="pr").selection.learning_rate == RATES[1]


def test_layer_weights_are_the_mean_over_folds(tmp_path: Path) -> None:
    """Scores of ln 3 and 0 are weights of 3/4 and 1/4; those of the other fold 1/2 and 1/2."""
    points: Points = [(50, 1), (50, 1)]
    scores = ((float(torch.tensor(3.0).log()), 0.0), (0.0, 0.0))
    found = solved(tmp_path, points, points, scores=scores)
    assert found.layer_weights == pytest.approx((0.625, 0.375), rel=1e-6)


@pytest.mark.parametrize(
    ("best", "extend_grid", "tried", "at_edge"),
    [
        (1e-4, 0, [[1e-3, 1e-4]], True),
        (1e-5, 3, [[1e-3, 1e-4], [1e-5], [1e-6]], False),
        (1e-2, 3, [[1e-3, 1e-4], [1e-2], [1e-1]], False),
        (1e-2, 1, [[1e-3, 1e-4], [1e-2]], True),
        (1.0, 3, [[1e-3, 1e-4], [1e-2], [1e-1], [1.0]], True),
    ],
)
def test_a_rate_at_the_edge_extends_the_grid_step_by_step(
    best: float, extend_grid: int, tried: list[list[float]], at_edge: bool, tmp_path: Path
) -> None:
    """Only what is new is trained, until the best rate lies inside or the grid may not grow further."""
    found, [what] = climbed(tmp_path, best, extend_grid=extend_grid)
    assert what == tried
    selection = found.selection
    every = [rate for part in tried for rate in part]
    assert selection.learning_rate == min(every, key=lambda rate: abs(math.log10(rate / best)))
    assert selection.extended == tuple(every[2:])
    assert selection.at_edge is at_edge
    assert [point.learning_rate for point in selection.curve] == every
    edge = any("that was tried: a better one may lie beyond" in note for note in found.notes)
    assert edge is at_edge
    added = ", ".join(f"{rate:g}" for rate in every[2:])
    said = f"the best learning rate was at the edge of the grid, which was extended by {added}"
    assert (said in found.notes) is bool(added)


def test_an_inner_rate_extends_nothing(tmp_path: Path) -> None:
    found, [what] = climbed(tmp_path, 1e-3, extend_grid=3, rates=(1e-2, 1e-3, 1e-4))
    assert what == [[1e-2, 1e-3, 1e-4]]
    assert (found.selection.at_edge, found.selection.extended, found.notes) == (False, (), ())


def test_one_rate_is_no_grid(tmp_path: Path) -> None:
    found, [what] = climbed(tmp_path, 1e-2, extend_grid=3, rates=(1e-4,))
    assert what == [[1e-4]]
    assert (found.selection.at_edge, found.selection.extended, found.notes) == (None, (), ())


def test_folds_extend_the_grid_together_by_their_mean(tmp_path: Path) -> None:
    """One fold alone is best inside; the mean of both is at the edge once, then inside."""
    found, tried = climbed(tmp_path, 1e-4, 1e-6, 1e-6, extend_grid=3, rates=(1e-3, 1e-4, 1e-5))
    assert tried == [[[1e-3, 1e-4, 1e-5], [1e-6], [1e-7]]] * 3
    assert found.selection.learning_rate == 1e-6
    assert set(found.selection.per_fold.values()) == {1e-6}
    assert (found.selection.at_edge, found.selection.extended) == (False, (1e-6, 1e-7))


def test_the_record_says_which_rates_lost_the_race_and_what_was_averaged(tmp_path: Path) -> None:
    settings = {"keep_best_after_steps": 1, "steps": 2, "average_last": 2}
    found, [what] = climbed(tmp_path, 1e-3, extend_grid=0, rates=(1e-2, 1e-3, 1e-4), **settings)
    assert what == [[1e-2, 1e-3, 1e-4], [1.5e-3]]
    assert found.selection.lost_race == (1e-2, 1e-4)
    assert "parameters are the mean of 2 dev points" in found.notes


@pytest.mark.parametrize(("noise", "kept"), [(2.5, 2.5), (0.0, 0.0), (math.inf, None)])
def test_the_record_says_how_sure_each_point_is(
    noise: float, kept: float | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the race was decided by. One item has an infinite standard error, which JSON cannot hold."""
    monkeypatch.setattr(Scripted, "noise", noise)
    curve = solved(tmp_path, [(60, 1), (50, 2)]).selection.curve
    assert [(point.value, point.noise, point.loss) for point in curve] == [(60, kept, 1), (50, kept, 2)]


def test_a_point_that_diverged_has_neither_noise_nor_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Scripted, "noise", 2.5)
    (_, diverged) = solved(tmp_path, [(60, 1), (50, math.nan)]).selection.curve
    assert (diverged.value, diverged.noise, diverged.loss) == (None, None, None)
    assert diverged.reason == "training diverged: the loss is not finite"


def test_a_rate_beyond_the_grid_runs_the_race_too(tmp_path: Path) -> None:
    """The rate beyond is worse than the grid's best at the end of the race, and is trained no further."""
    settings = {"keep_best_after_steps": 1, "steps": 2, "extend_grid": 1}
    found, [what] = climbed(tmp_path, 3e-3, rates=(1e-3, 1e-4), **settings)
    assert what == [[1e-3, 1e-4], [2e-3], [1e-2]]
    assert found.selection.lost_race == (1e-4, 1e-2)
    assert (found.selection.learning_rate, found.selection.at_edge) == (1e-3, False)
