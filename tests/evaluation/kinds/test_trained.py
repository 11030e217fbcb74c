"""What all trained kinds share: one learning rate for all folds, by the mean of their best dev metrics."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from fake_speech import FakeUpstream, class_data
from torch import Tensor
from trained_task import load_trained

from skill_bench.base.progress import Silent
from skill_bench.corpora.data import Fold
from skill_bench.evaluation.solving.cell import Cell
from skill_bench.evaluation.solving.trained import train_folds
from skill_bench.probes.heads import LAYER_SCORES, Randomness
from skill_bench.probes.parameters import Parameters
from skill_bench.probes.training import Batch, DevScore

RATES = (1e-3, 1e-4)
Points = list[tuple[float, float]]


class Scripted:
    """A fold of two layers whose dev metric and loss are given for each learning rate."""

    stack = None

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
        return [DevScore(value=value, loss=loss) for value, loss in self.points]

    def test_rows(self, parameters: Parameters) -> list[dict[str, Any]]:
        return [{"id": self.fold.name, "fold": self.fold.name}]

    def notes(self) -> list[str]:
        return []


def solved(folder: Path, *folds: Points, task: str = "er", scores: tuple[tuple[float, float], ...] = ()) -> Any:
    """The result of one seed."""
    spec = load_trained(task).for_suite("demo")
    settings = {
        "steps": 1, "evaluate_every_steps": 1, "learning_rates": RATES, "accumulate": 1,
        "patience_evaluations": False, "keep_best_after_steps": False,
    }  # fmt: skip
    spec = spec.model_copy(update={"protocol": spec.protocol.model_copy(update=settings)})
    data = class_data(folder / "audio", folds=len(folds))
    cell = Cell(
        upstream=FakeUpstream(), task=spec, data=data, seeds=(0,), cache_dir=folder,
        progress=Silent(), device=torch.device("cpu"),
    )  # fmt: skip
    scores = scores or ((0.0, 0.0),) * len(folds)
    problems = [Scripted(*one) for one in zip(data.folds, folds, scores, strict=True)]
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
