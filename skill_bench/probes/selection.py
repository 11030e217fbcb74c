"""What is kept while a grid trains: each learning rate's best checkpoint, and which rates go on.

A learning rate stops by itself, and loses the race only to one that is better beyond the noise of both on dev: what
it finds does not depend on which others are trained beside it.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from skill_bench.probes.parameters import Parameters, select
from skill_bench.tasks import Protocol

# Two values further apart than so many standard errors of their difference are told apart.
_TOLD_APART = 2.0


@dataclass(frozen=True, kw_only=True)
class DevScore:
    """One cell on dev.

    Attributes:
        value: The dev metric, None where there is nothing to score.
        loss: Mean loss.
        noise: Standard error of ``value`` over dev's items, in the metric's unit.
    """

    value: float | None
    loss: float
    noise: float = 0.0


@dataclass(frozen=True, kw_only=True)
class DevPoint:
    """Dev metric, its standard error and loss of one learning rate after some steps; None where training diverged."""

    learning_rate: float
    step: int
    value: float | None
    loss: float | None
    noise: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Trained:
    """The best checkpoint of one learning rate.

    Attributes:
        dev: Its point on the curve.
        parameters: One cell's parameters, ``(1, ...)`` each.
    """

    dev: DevPoint
    parameters: Parameters


class Averages:
    """The mean of each cell's parameters at the last few dev points: what is scored, kept, and used on test.

    Args:
        n_points: How many; 1 takes the parameters as they are.
    """

    def __init__(self, n_points: int) -> None:
        self._points: deque[Parameters] = deque(maxlen=n_points)
        self.n_points = n_points

    def of(self, parameters: Parameters) -> Parameters:
        """The mean with ``parameters``, which are the newest point; of fewer points while there are fewer."""
        if self.n_points == 1:
            return parameters
        self._points.append({name: value.detach().clone() for name, value in parameters.items()})
        return {name: torch.stack([point[name] for point in self._points]).mean(dim=0) for name in parameters}

    def keep(self, cells: list[int]) -> None:
        """Goes on with some cells only."""
        kept = [select(point, cells) for point in self._points]
        self._points.clear()
        self._points.extend(kept)


class Selection:
    """One seed's learning rates: the best checkpoint of each so far, and which of them go on.

    Args:
        protocol: Learning rates and rules.
        higher_is_better: Direction of the dev metric.
        rival: The best point at the end of the race of learning rates that were trained before, if any.
    """

    def __init__(self, protocol: Protocol, *, higher_is_better: bool, rival: DevPoint | None = None) -> None:
        self.rates, self.sign = protocol.learning_rates, 1.0 if higher_is_better else -1.0
        self.loss_decides = protocol.checkpoint_by == "metric_then_loss"
        self.patience = protocol.patience_evaluations or math.inf
        self.active = list(range(len(self.rates)))
        self.best: dict[int, Trained] = {}
        self.curve: list[DevPoint] = []
        self.lowest_loss = [math.inf] * len(self.rates)
        self.stale = [0] * len(self.rates)
        self.leader = rival
        self.lost_race: tuple[float, ...] = ()

    def update(self, step: int, scores: Sequence[DevScore], parameters: Parameters, *, first_cell: int) -> None:
        """Takes in the scores of the active learning rates, whose parameters start at ``first_cell``."""
        for cell, (rate_index, score) in enumerate(zip(self.active, scores, strict=True)):
            finite = math.isfinite(score.loss)
            point = DevPoint(
                learning_rate=self.rates[rate_index],
                step=step,
                value=score.value if finite else None,
                loss=score.loss if finite else None,
                noise=score.noise,
            )
            self.curve.append(point)
            improved = point.loss is not None and point.loss < self.lowest_loss[rate_index]
            if point.loss is not None and improved:
                self.lowest_loss[rate_index] = point.loss
            best = self.best.get(rate_index)
            if best is None or self._better(point, best.dev):
                improved = improved or best is None or point.value is not None
                self.best[rate_index] = Trained(dev=point, parameters=select(parameters, [first_cell + cell]))
            self.stale[rate_index] = 0 if improved else self.stale[rate_index] + 1

    def go_on(self, *, race_ends: bool) -> list[int]:
        """Drops the learning rates that have stopped improving, and at the end of the race those that lost it.

        Returns:
            The places among the active ones of those that stay.
        """
        if race_ends:
            points = [self.best[rate_index].dev for rate_index in self.active]
            self.leader = max([*points, *([self.leader] if self.leader else [])], key=lambda p: merit(p, self.sign))
            lost = [i for i in self.active if self._worse_beyond_noise(self.best[i].dev, self.leader)]
            self.lost_race = tuple(self.rates[i] for i in lost)
        else:
            lost = []
        stay = [
            place for place, i in enumerate(self.active) if i not in lost and self.stale[i] < self.patience
        ]  # fmt: skip
        self.active = [self.active[place] for place in stay]
        return stay

    def trained(self) -> tuple[Trained, ...]:
        """The best checkpoint of every learning rate, in their order."""
        return tuple(self.best[i] for i in range(len(self.rates)))

    def _better(self, point: DevPoint, best: DevPoint) -> bool:
        one, other = merit(point, self.sign), merit(best, self.sign)
        return one > other if self.loss_decides else one[0] > other[0]

    def _worse_beyond_noise(self, point: DevPoint, leader: DevPoint) -> bool:
        """Error rates of 100 % and more are alike: early in CTC training more errors can mean that more is said."""
        if leader.value is None:
            return False
        if point.value is None:
            return True
        one, other = (value if self.sign > 0 else min(value, 100.0) for value in (point.value, leader.value))
        return self.sign * (other - one) > _TOLD_APART * math.hypot(point.noise, leader.noise)


def merit(point: DevPoint, sign: float) -> tuple[float, float]:
    """For comparison, larger is better: the metric, then the loss; ``sign`` is -1 for error rates."""
    if point.value is None or point.loss is None:
        return (-math.inf, -math.inf)
    return (sign * point.value, -point.loss)
