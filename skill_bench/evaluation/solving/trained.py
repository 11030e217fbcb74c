"""What all trained kinds share: a grid of learning rates a fold, one learning rate for all folds, test read once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, TypeVar

import torch

from skill_bench.corpora.data import Fold
from skill_bench.evaluation.solving.cell import Cell, Solved
from skill_bench.metrics.scales import SCALES
from skill_bench.probes import heads
from skill_bench.probes.parameters import Parameters
from skill_bench.probes.training import DevPoint, GridResult, Problem, Trained, merit, train_grid
from skill_bench.records.record import CurvePoint, Selection
from skill_bench.tasks import TrainedSpec

AnyBatch = TypeVar("AnyBatch")
AnySpec = TypeVar("AnySpec", bound=TrainedSpec)


class FoldProblem(Problem[AnyBatch], Protocol[AnyBatch]):
    """One fold of a trained task."""

    fold: Fold

    def test_rows(self, parameters: Parameters) -> list[dict[str, Any]]:
        """Test predictions of the first cell."""
        ...

    def notes(self) -> list[str]:
        """Facts about the fold that do not stop training but belong to its numbers."""
        ...


def train_folds(
    cell: Cell[AnySpec], problems: Sequence[FoldProblem[Any]], *, chosen_by: str | None = None
) -> Iterator[Solved]:
    """For each seed: trains every fold, chooses the learning rate by the folds' mean dev metric, predicts test.

    Seeds that can be stacked are trained together; others one after the other, so that each is given out when it is
    finished. All of them read the same problems, whose batches stay in memory while they are small.

    Args:
        cell: The task and its seeds.
        problems: One a fold.
        chosen_by: What the dev metric is called where it is not the task's.
    """
    together = all(problem.stack is not None for problem in problems)
    for seeds in [cell.seeds] if together else [(seed,) for seed in cell.seeds]:
        results = [_train(cell, problem, seeds) for problem in problems]
        cell.clock.mark("training", shared_by=len(seeds))
        for of_folds in zip(*results, strict=True):
            yield _solved(cell, problems, of_folds, chosen_by or cell.task.metric)


def _solved(
    cell: Cell[AnySpec], problems: Sequence[FoldProblem[Any]], results: Sequence[GridResult], chosen_by: str
) -> Solved:
    """One seed's results of every fold."""
    chosen = _choose(cell.task, results)
    best = [result.trained[chosen] for result in results]
    rows = [row for problem, one in zip(problems, best, strict=True) for row in problem.test_rows(one.parameters)]
    cell.clock.mark("test")
    layers = torch.stack([heads.layer_weights(one.parameters)[0].double() for one in best]).mean(dim=0)
    folds = [problem.fold for problem in problems]
    return Solved(
        rows=rows,
        layer_weights=tuple(layers.tolist()),
        selection=_selection(chosen_by, folds, results, best),
        notes=_notes(cell.task, problems, results),
    )


def _train(cell: Cell[AnySpec], problem: FoldProblem[Any], seeds: tuple[int, ...]) -> list[GridResult]:
    name, protocol = problem.fold.name, cell.task.protocol
    numbers = f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"
    with cell.progress.stage(f"{cell.task.name}: training {name}, {numbers}", total=protocol.steps) as advance:
        return train_grid(
            problem,
            protocol,
            higher_is_better=SCALES[cell.task.metric].higher_is_better,
            seeds=seeds,
            fold=name,
            device=cell.device,
            advance=advance,
        )


def _choose(task: TrainedSpec, results: Sequence[GridResult]) -> int:
    """Index of the learning rate with the best mean over folds of its best dev metric (then loss)."""
    sign = 1.0 if SCALES[task.metric].higher_is_better else -1.0

    def mean_merit(index: int) -> tuple[float, float]:
        merits = [merit(result.trained[index].dev, sign) for result in results]
        return (sum(m[0] for m in merits) / len(merits), sum(m[1] for m in merits) / len(merits))

    return max(range(len(task.protocol.learning_rates)), key=mean_merit)


def _selection(metric: str, folds: Sequence[Fold], results: Sequence[GridResult], best: Sequence[Trained]) -> Selection:
    several = len(folds) > 1

    def point(dev: DevPoint, fold: Fold) -> CurvePoint:
        return CurvePoint(
            learning_rate=dev.learning_rate,
            value=dev.value,
            reason="training diverged: the loss is not finite" if dev.value is None else None,
            step=dev.step,
            fold=fold.name if several else None,
        )

    return Selection(
        metric=metric,
        learning_rate=best[0].dev.learning_rate,
        per_fold={f.name: b.dev.learning_rate for f, b in zip(folds, best, strict=True)} if several else {},
        curve=tuple(point(dev, fold) for fold, result in zip(folds, results, strict=True) for dev in result.curve),
    )


def _notes(task: TrainedSpec, problems: Sequence[FoldProblem[Any]], results: Sequence[GridResult]) -> tuple[str, ...]:
    notes = []
    if task.protocol.checkpoint_selected_on == "test":
        notes.append("checkpoints were chosen on test, as s3prl does: the score is too good")
    for problem, result in zip(problems, results, strict=True):
        found = problem.notes()
        if result.steps < task.protocol.steps:
            found.append(f"training stopped after {result.steps} steps: no learning rate improved on dev any more")
        notes += [f"fold {problem.fold.name}: {note}" if len(problems) > 1 else note for note in found]
    return tuple(notes)
