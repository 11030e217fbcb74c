"""Trains one head for every learning rate and seed at once, and keeps the best of each on dev.

The rules are the protocol's: dev is read every so many steps, a checkpoint is kept when dev improves (its metric,
then its loss), test is not touched here. A learning rate starts from the same numbers and sees the same batches
whichever others are trained beside it, or before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from skill_bench.base.hashed import seed_from
from skill_bench.base.progress import Advance
from skill_bench.probes.heads import Randomness
from skill_bench.probes.parameters import ADAMW_DECAY, GridAdam, Parameters, concatenate, repeat
from skill_bench.probes.selection import Averages, DevPoint, DevScore, Selection, Trained
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
class GridResult:
    """What a seed found on a fold.

    Attributes:
        trained: Best checkpoints in the order of the learning rates.
        curve: All dev points.
        steps: How many were made.
        leader: The best point at the end of the race, if there was one.
        lost_race: Learning rates that did not go on after it.
    """

    trained: tuple[Trained, ...]
    curve: tuple[DevPoint, ...]
    steps: int
    leader: DevPoint | None = None
    lost_race: tuple[float, ...] = ()

    def joined(self, later: GridResult) -> GridResult:
        """With the learning rates that were trained later."""
        return GridResult(
            trained=(*self.trained, *later.trained),
            curve=(*self.curve, *later.curve),
            steps=max(self.steps, later.steps),
            leader=later.leader,
            lost_race=(*self.lost_race, *later.lost_race),
        )


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
    earlier: Sequence[GridResult] = (),
) -> list[GridResult]:
    """Trains all learning rates of ``protocol`` and all seeds on one fold, as one computation.

    The result of a seed and a learning rate does not depend on the others, up to the order in which float32 sums are
    taken, as long as it does not lose the race.

    Args:
        problem: Data and head; it can ``stack`` if there are several seeds.
        protocol: Steps, learning rates, selection and stop rules.
        higher_is_better: Direction of the dev metric.
        seeds: Each decides initial parameters, batches and masks, equally for every learning rate.
        fold: Name of the fold; folds draw different numbers.
        device: Where the head is trained.
        advance: Called with finished steps; they add up to ``protocol.steps`` even if training stops early.
        earlier: What each seed found with other learning rates, which take part in the race.
    """
    rates = protocol.learning_rates
    rivals = [result.leader for result in earlier] or [None] * len(seeds)
    grids = [
        _Grid(problem, protocol, seed=seed, fold=fold, higher_is_better=higher_is_better, rival=rival)
        for seed, rival in zip(seeds, rivals, strict=True)
    ]
    starts = [problem.initial(generator_for(seed, fold, "init")) for seed in seeds]
    parameters = concatenate([repeat(start, cells=len(rates), device=device) for start in starts])
    optimizer = GridAdam(
        parameters=parameters,
        learning_rates=torch.tensor(rates, device=device).repeat(len(seeds)),
        clip_norm=protocol.gradient_clip_norm,
        decay=ADAMW_DECAY if protocol.optimizer == "adamw" else 0.0,
    )
    averages = Averages(protocol.average_last)
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
        averaged = averages.of(parameters)
        kept = _update(running, step, problem.score(averaged), averaged, race_ends=race_ends)
        running = [grid for grid in running if grid.selection.active]
        if running and len(kept) < len(optimizer.learning_rates):
            optimizer.keep(kept)
            averages.keep(kept)
    advance(protocol.steps - step)
    return [grid.result() for grid in grids]


def _update(
    grids: Sequence[_Grid[AnyBatch]], step: int, scores: Sequence[DevScore], parameters: Parameters, *, race_ends: bool
) -> list[int]:
    """Every seed takes in the scores of its cells, which come seed after seed; the cells that go on."""
    kept: list[int] = []
    first = 0
    for grid in grids:
        n = len(grid.selection.active)
        grid.steps = step
        grid.selection.update(step, scores[first : first + n], parameters, first_cell=first)
        kept += [first + place for place in grid.selection.go_on(race_ends=race_ends)]
        first += n
    return kept


class _Grid(Generic[AnyBatch]):
    """One seed: what it draws and what it has found."""

    def __init__(
        self,
        problem: Problem[AnyBatch],
        protocol: TrainingProtocol,
        *,
        seed: int,
        fold: str,
        higher_is_better: bool,
        rival: DevPoint | None,
    ) -> None:
        self.randomness = Randomness(
            generator=generator_for(seed, fold, "noise"), spec_augment=protocol.spec_augment or None
        )
        self.batches = problem.batches(generator_for(seed, fold, "order"))
        self.selection = Selection(protocol, higher_is_better=higher_is_better, rival=rival)
        self.steps = 0

    def result(self) -> GridResult:
        """What the seed found."""
        return GridResult(
            trained=self.selection.trained(),
            curve=tuple(self.selection.curve),
            steps=self.steps,
            leader=self.selection.leader,
            lost_race=self.selection.lost_race,
        )


def _together(
    problem: Problem[AnyBatch], grids: Sequence[_Grid[AnyBatch]], batches: Sequence[AnyBatch]
) -> tuple[AnyBatch, Randomness | None]:
    """One batch for all seeds. A problem that can stack draws no random numbers."""
    if len(grids) == 1:
        return batches[0], grids[0].randomness
    assert problem.stack is not None
    n_cells = [len(grid.selection.active) for grid in grids]
    if len(set(n_cells)) > 1:  # every group of cells has equally many: here one
        batches = [batch for batch, n in zip(batches, n_cells, strict=True) for _ in range(n)]
    return problem.stack(batches), None
