"""Trains one head for every learning rate and seed at once, and keeps the best of each on dev.

The rules are the protocol's: dev is read every so many steps, a checkpoint is kept when dev improves (its metric,
then its loss), test is not touched here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from skill_bench.base.hashed import seed_from
from skill_bench.base.progress import Advance
from skill_bench.probes.heads import Randomness
from skill_bench.probes.optimizer import ADAMW_DECAY, GridAdam
from skill_bench.probes.parameters import Parameters, concatenate, repeat, select
from skill_bench.tasks import Protocol as TrainingProtocol

Label = TypeVar("Label")
AnyBatch = TypeVar("AnyBatch")


@dataclass(frozen=True, kw_only=True)
class Batch(Generic[Label]):
    """Features of some utterances and what the head has to say about each.

    Attributes:
        features: ``(layers, rows, dim)`` float32; with a leading dimension where every seed has utterances of its own.
        lengths: Rows of each utterance.
        labels: One for each utterance, seed after seed.
    """

    features: Float[Tensor, "*seeds layers rows dim"]
    lengths: list[int]
    labels: list[Label]


def stack_batches(batches: Sequence[Batch[Label]]) -> Batch[Label]:
    """The batches of several seeds, which have equally many rows, as one."""
    return Batch(
        features=torch.stack([batch.features for batch in batches]),
        lengths=batches[0].lengths,
        labels=[label for batch in batches for label in batch.labels],
    )


@dataclass(frozen=True, kw_only=True)
class DevScore:
    """The dev metric of one cell, None where there is nothing to score, and its mean loss."""

    value: float | None
    loss: float


class Problem(Protocol[AnyBatch]):
    """One fold of one task, as the trainer sees it.

    Attributes:
        stack: Makes one batch of the batches of several seeds, so that they can be trained together; None where their
            shapes differ or the head draws random numbers.
    """

    @property
    def stack(self) -> Callable[[Sequence[AnyBatch]], AnyBatch] | None: ...

    def initial(self, generator: torch.Generator) -> Parameters:
        """Parameters of one cell."""
        ...

    def batches(self, generator: torch.Generator) -> Iterator[AnyBatch]:
        """Training batches without end."""
        ...

    def losses(self, parameters: Parameters, batch: AnyBatch, randomness: Randomness | None) -> Float[Tensor, " cells"]:
        """Mean loss of a batch in every cell."""
        ...

    def score(self, parameters: Parameters) -> list[DevScore]:
        """Metric and loss on dev, for every cell."""
        ...


@dataclass(frozen=True, kw_only=True)
class DevPoint:
    """Dev metric and loss of one learning rate after some steps; ``value`` is None where training diverged."""

    learning_rate: float
    step: int
    value: float | None
    loss: float | None


@dataclass(frozen=True, kw_only=True)
class Trained:
    """The best checkpoint of one learning rate.

    Attributes:
        dev: Its point on the curve.
        parameters: One cell's parameters, ``(1, ...)`` each.
    """

    dev: DevPoint
    parameters: Parameters


@dataclass(frozen=True, kw_only=True)
class GridResult:
    """Best checkpoints in the order of the learning rates, all dev points, and how many steps were made."""

    trained: tuple[Trained, ...]
    curve: tuple[DevPoint, ...]
    steps: int


def generator_for(*parts: object) -> torch.Generator:
    """A generator of its own for each purpose, e.g. ``generator_for(seed, fold, "order")``."""
    return torch.Generator().manual_seed(seed_from(*parts, separator="/"))


def train_grid(
    problem: Problem[AnyBatch],
    protocol: TrainingProtocol,
    *,
    higher_is_better: bool,
    seeds: Sequence[int],
    fold: str,
    device: torch.device,
    advance: Advance,
) -> list[GridResult]:
    """Trains all learning rates of ``protocol`` and all seeds on one fold, as one computation.

    A seed's result does not depend on the others, up to the order in which float32 sums are taken.

    Args:
        problem: Data and head; it can ``stack`` if there are several seeds.
        protocol: Steps, learning rates, selection and stop rules.
        higher_is_better: Direction of the dev metric.
        seeds: Each decides initial parameters, batches and masks, equally for every learning rate.
        fold: Name of the fold; folds draw different numbers.
        device: Where the head is trained.
        advance: Called with finished steps; they add up to ``protocol.steps`` even if training stops early.
    """
    rates = protocol.learning_rates
    grids = [_Grid(problem, protocol, seed=seed, fold=fold, higher_is_better=higher_is_better) for seed in seeds]
    starts = [problem.initial(generator_for(seed, fold, "init")) for seed in seeds]
    parameters = concatenate([repeat(start, cells=len(rates), device=device) for start in starts])
    optimizer = GridAdam(
        parameters=parameters,
        learning_rates=torch.tensor(rates, device=device).repeat(len(seeds)),
        clip_norm=protocol.gradient_clip_norm,
        decay=ADAMW_DECAY if protocol.optimizer == "adamw" else 0.0,
    )
    running, step = list(grids), 0
    while step < protocol.steps and running:
        step += 1
        for _ in range(protocol.accumulate):
            batches = [next(grid.batches) for grid in running]
            losses = problem.losses(parameters, *_together(problem, running, batches)) / protocol.accumulate
            losses.sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        advance(1)
        race_ends = step == protocol.keep_best_after_steps
        if step % protocol.evaluate_every_steps and step != protocol.steps and not race_ends:
            continue
        scores = problem.score(parameters)
        kept: list[int] = []
        start = 0
        for grid in running:
            cells = range(start, start + len(grid.selection.active))
            start = cells.stop
            grid.steps = step
            grid.selection.update(step, scores[cells.start : cells.stop], parameters, first_cell=cells.start)
            chosen = list(cells)
            if race_ends and len(cells) > 1:
                chosen = [cells[grid.selection.keep_best()]]
            if not (protocol.patience_evaluations and grid.selection.stale >= protocol.patience_evaluations):
                kept += chosen
            else:
                grid.running = False
        running = [grid for grid in running if grid.running]
        if running and len(kept) < len(scores):
            optimizer.keep(kept)
    advance(protocol.steps - step)
    return [
        GridResult(trained=grid.selection.trained(), curve=tuple(grid.selection.curve), steps=grid.steps)
        for grid in grids
    ]


class _Grid(Generic[AnyBatch]):
    """One seed: what it draws and what it has found."""

    def __init__(
        self, problem: Problem[AnyBatch], protocol: TrainingProtocol, *, seed: int, fold: str, higher_is_better: bool
    ) -> None:
        self.randomness = Randomness(
            generator=generator_for(seed, fold, "noise"), spec_augment=protocol.spec_augment or None
        )
        self.batches = problem.batches(generator_for(seed, fold, "order"))
        self.selection = _Selection(
            rates=protocol.learning_rates,
            higher_is_better=higher_is_better,
            loss_decides=protocol.checkpoint_by == "metric_then_loss",
        )
        self.steps, self.running = 0, True


def _together(
    problem: Problem[AnyBatch], grids: Sequence[_Grid[AnyBatch]], batches: Sequence[AnyBatch]
) -> tuple[AnyBatch, Randomness | None]:
    """One batch for all seeds. A problem that can stack draws no random numbers."""
    if len(grids) == 1:
        return batches[0], grids[0].randomness
    assert problem.stack is not None
    return problem.stack(batches), None


class _Selection:
    """The best checkpoint of each learning rate so far."""

    def __init__(self, *, rates: tuple[float, ...], higher_is_better: bool, loss_decides: bool) -> None:
        self.rates, self.sign = rates, 1.0 if higher_is_better else -1.0
        self.loss_decides = loss_decides
        self.active = list(range(len(rates)))
        self.best: dict[int, Trained] = {}
        self.curve: list[DevPoint] = []
        self.lowest_loss = [math.inf] * len(rates)
        self.stale = 0

    def update(self, step: int, scores: list[DevScore], parameters: Parameters, *, first_cell: int) -> None:
        """Takes in the scores of the active learning rates, whose parameters start at ``first_cell``."""
        improved = False
        for cell, (rate_index, score) in enumerate(zip(self.active, scores, strict=True)):
            finite = math.isfinite(score.loss)
            point = DevPoint(
                learning_rate=self.rates[rate_index],
                step=step,
                value=score.value if finite else None,
                loss=score.loss if finite else None,
            )
            self.curve.append(point)
            if point.loss is not None and point.loss < self.lowest_loss[rate_index]:
                improved, self.lowest_loss[rate_index] = True, point.loss
            best = self.best.get(rate_index)
            if best is None or self._better(point, best.dev):
                improved = improved or best is None or point.value is not None
                self.best[rate_index] = Trained(dev=point, parameters=select(parameters, [first_cell + cell]))
        self.stale = 0 if improved else self.stale + 1

    def _better(self, point: DevPoint, best: DevPoint) -> bool:
        one, other = merit(point, self.sign), merit(best, self.sign)
        return one > other if self.loss_decides else one[0] > other[0]

    def keep_best(self) -> int:
        """Drops all learning rates but the best; returns its cell.

        Early in CTC training an error rate above 100 % says nothing (it beats no empty output): the loss decides then.
        """

        def promise(cell: int) -> tuple[float, float]:
            rate_index = self.active[cell]
            metric, _ = merit(self.best[rate_index].dev, self.sign)
            return (max(metric, -100.0), -self.lowest_loss[rate_index])

        cell = max(range(len(self.active)), key=promise)
        self.active = [self.active[cell]]
        return cell

    def trained(self) -> tuple[Trained, ...]:
        return tuple(self.best[i] for i in range(len(self.rates)))


def merit(point: DevPoint, sign: float) -> tuple[float, float]:
    """For comparison, larger is better: the metric, then the loss; ``sign`` is -1 for error rates."""
    if point.value is None or point.loss is None:
        return (-math.inf, -math.inf)
    return (sign * point.value, -point.loss)
