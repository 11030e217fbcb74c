"""What all trained kinds share: a grid of learning rates a fold, one learning rate for all folds, test read once."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, Protocol, TypeVar

import torch

from skill_bench.base.counted import counted
from skill_bench.corpora.data import Fold
from skill_bench.evaluation.solving.cell import Cell, Solved
from skill_bench.metrics.scales import SCALES
from skill_bench.probes import heads
from skill_bench.probes.parameters import Parameters
from skill_bench.probes.selection import DevPoint, Trained, merit
from skill_bench.probes.training import GridResult, Problem, train_grid
from skill_bench.records.record import CurvePoint, Selection
from skill_bench.tasks import Protocol as TrainingProtocol
from skill_bench.tasks import TrainedSpec, with_protocol

AnyBatch = TypeVar("AnyBatch")
AnySpec = TypeVar("AnySpec", bound=TrainedSpec)
SMALLEST, LARGEST = 1e-7, 1.0
"""No learning rate is tried beyond these: the ends of the grid that SUPERB's rules name."""


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
    finished. All of them read the same problems, whose batches stay in memory while they are small. A seed whose
    chosen learning rate is at the edge of the grid trains more of them, as far as the protocol lets it.

    Args:
        cell: The task and its seeds.
        problems: One a fold.
        chosen_by: What the dev metric is called where it is not the task's.
    """
    together = all(problem.stack is not None for problem in problems)
    for seeds in [cell.seeds] if together else [(seed,) for seed in cell.seeds]:
        results = [_train(cell, problem, cell.task.protocol, seeds) for problem in problems]
        cell.clock.mark("training", shared_by=len(seeds))
        shared = cell.clock.seconds["training"]
        for seed, of_folds in zip(seeds, zip(*results, strict=True), strict=True):
            cell.clock.seconds["training"] = shared
            task, extended = _extended(cell, problems, of_folds, seed=seed)
            cell.clock.add("training")
            yield _solved(cell, task, problems, extended, chosen_by or cell.task.metric)


def _extended(
    cell: Cell[AnySpec], problems: Sequence[FoldProblem[Any]], results: Sequence[GridResult], *, seed: int
) -> tuple[AnySpec, Sequence[GridResult]]:
    """The task with the grid that was trained in the end, and what was found in each fold."""
    task = cell.task
    for _ in range(task.protocol.extend_grid):
        rates = task.protocol.learning_rates
        added = beyond(rates, rates[_choose(task, results)])
        if added is None:
            break
        alone = task.protocol.model_copy(update={"learning_rates": (added,)})
        results = [
            result.joined(*_train(cell, problem, alone, (seed,), earlier=[result]))
            for problem, result in zip(problems, results, strict=True)
        ]
        task = with_protocol(task, learning_rates=(*rates, added))
    return task, results


def _solved(
    cell: Cell[AnySpec],
    task: AnySpec,
    problems: Sequence[FoldProblem[Any]],
    results: Sequence[GridResult],
    chosen_by: str,
) -> Solved:
    """One seed's results of every fold; ``task`` has the grid that was trained."""
    chosen = _choose(task, results)
    best = [result.trained[chosen] for result in results]
    rows = [row for problem, one in zip(problems, best, strict=True) for row in problem.test_rows(one.parameters)]
    cell.clock.mark("test")
    layers = torch.stack([heads.layer_weights(one.parameters)[0].double() for one in best]).mean(dim=0)
    folds = [problem.fold for problem in problems]
    selection = _selection(chosen_by, folds, results, best).model_copy(
        update=_about_the_grid(cell.task.protocol.learning_rates, task.protocol.learning_rates, chosen, results)
    )
    return Solved(
        rows=rows,
        layer_weights=tuple(layers.tolist()),
        selection=selection,
        notes=(*_notes(task, problems, results), *_grid_notes(task, selection)),
    )


def _train(
    cell: Cell[AnySpec],
    problem: FoldProblem[Any],
    protocol: TrainingProtocol,
    seeds: tuple[int, ...],
    *,
    earlier: Sequence[GridResult] = (),
) -> list[GridResult]:
    name = problem.fold.name
    numbers = f"{counted(len(seeds), 'seed')} ({', '.join(map(str, seeds))})"
    more = f", learning rate {protocol.learning_rates[0]:g} beyond the grid" if earlier else ""
    with cell.progress.stage(
        f"{cell.task.name}: training {name}, {numbers}{more}", total=protocol.steps
    ) as advance:  # fmt: skip
        return train_grid(
            problem,
            protocol,
            higher_is_better=SCALES[cell.task.metric].higher_is_better,
            seeds=seeds,
            fold=name,
            device=cell.device,
            advance=advance,
            earlier=earlier,
        )


def _choose(task: TrainedSpec, results: Sequence[GridResult]) -> int:
    """Index of the learning rate with the best mean over folds of its best dev metric (then loss)."""
    sign = 1.0 if SCALES[task.metric].higher_is_better else -1.0

    def mean_merit(index: int) -> tuple[float, float]:
        merits = [merit(result.trained[index].dev, sign) for result in results]
        return (sum(m[0] for m in merits) / len(merits), sum(m[1] for m in merits) / len(merits))

    return max(range(len(task.protocol.learning_rates)), key=mean_merit)


def _about_the_grid(
    stated: tuple[float, ...], trained: tuple[float, ...], chosen: int, results: Sequence[GridResult]
) -> dict[str, Any]:
    """What a record's selection says of the grid and the race."""
    return {
        "extended": trained[len(stated) :],
        "at_edge": None if len(trained) < 2 else trained[chosen] in (min(trained), max(trained)),
        "lost_race": tuple(rate for rate in trained if any(rate in result.lost_race for result in results)),
    }


def _grid_notes(task: TrainedSpec, selection: Selection) -> list[str]:
    notes = []
    if selection.extended:
        added = ", ".join(f"{rate:g}" for rate in selection.extended)
        notes.append(f"the best learning rate was at the edge of the grid, which was extended by {added}")
    if selection.at_edge:
        end = "largest" if selection.learning_rate == max(task.protocol.learning_rates) else "smallest"
        notes.append(f"the chosen learning rate is the {end} that was tried: a better one may lie beyond")
    if task.protocol.average_last > 1:
        notes.append(f"parameters are the mean of {task.protocol.average_last} dev points")
    return notes


def _selection(metric: str, folds: Sequence[Fold], results: Sequence[GridResult], best: Sequence[Trained]) -> Selection:
    several = len(folds) > 1

    def point(dev: DevPoint, fold: Fold) -> CurvePoint:
        return CurvePoint(
            learning_rate=dev.learning_rate,
            value=dev.value,
            reason="training diverged: the loss is not finite" if dev.value is None else None,
            step=dev.step,
            fold=fold.name if several else None,
            noise=None if dev.value is None or math.isinf(dev.noise) else dev.noise,
            loss=dev.loss,
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


class CutSampler:
    """One cut of each utterance, by number among all cuts of all utterances, in their order.

    Args:
        counts: How many cuts each utterance has.
    """

    def __init__(self, counts: Sequence[int]) -> None:
        self._counts = counts
        self._first = [0]
        for count in counts[:-1]:
            self._first.append(self._first[-1] + count)

    def draw(self, utterances: Sequence[int], generator: torch.Generator) -> list[int]:
        """Draws nothing where nothing can be chosen, so that the generator's other draws stay as they are."""
        return [
            self._first[i] + (int(torch.randint(n, (), generator=generator)) if (n := self._counts[i]) > 1 else 0)
            for i in utterances
        ]


def beyond(rates: Sequence[float], chosen: float) -> float | None:
    """The next learning rate outwards, as far from ``chosen`` as its neighbour is, on a logarithmic scale.

    Rounded to three digits. None where ``chosen`` is not at an edge, where there is no neighbour, where the next one
    would lie outside of `SMALLEST` to `LARGEST`, or where rounding leaves it in the grid.
    """
    grid = sorted(rates)
    if len(grid) < 2 or chosen not in (grid[0], grid[-1]):
        return None
    neighbour = grid[1] if chosen == grid[0] else grid[-2]
    found = float(f"{chosen * (chosen / neighbour):.3g}")
    outwards = found > grid[-1] if chosen == grid[-1] else found < grid[0]
    return found if outwards and SMALLEST <= found <= LARGEST else None
