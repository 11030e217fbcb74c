"""How a mean over tasks varies: with the items of each task, and with the seeds, which tasks share.

Tasks tested on the same units (two tasks of one set of utterances, or of speakers) are drawn together; others vary
independently. A training seed may move all tasks at once, so what seeds add is read from each seed's *mean over
tasks*: adding up the tasks' own variances would take such a move for noise that averages out. Where the tasks do not
have the same repetitions, the tasks' deviations are taken to go together fully, which is never too narrow.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy import stats

from skill_bench.base.counted import counted
from skill_bench.report.statistics.bootstrap import N_DRAWS, mean_under, satterthwaite, seed_variance
from skill_bench.report.statistics.interval import LEVEL, Interval
from skill_bench.report.statistics.sample import Sample

Units = tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class Part:
    """One task's part in a mean, in points (higher better).

    Attributes:
        value: Of one system, or a difference of two.
        draws: The values in draws of units, the same draws for all that have the same units.
        units: What is drawn.
        n_folds: Each is drawn on its own.
        repetitions: For each system its value by repetition, be that a probe seed or a trained model.
        optimism: How much ``value`` is higher than an unbiased one.
    """

    value: float
    draws: Float[ndarray, " draws"]
    units: Units
    n_folds: int
    repetitions: tuple[Mapping[str, float], ...]
    optimism: float = 0.0


def one_repetition(part: Part) -> Part:
    """The same of a model that was not repeated, whatever was probed several times."""
    return replace(part, repetitions=tuple({"all": float(np.mean([*own.values()]))} for own in part.repetitions))


@dataclass(frozen=True, kw_only=True)
class MeanSpread:
    """A mean, its variance and the degrees of freedom of that; ``optimism`` as of :class:`Part`."""

    value: float
    variance: float
    degrees_of_freedom: float
    optimism: float

    def half_width(self, level: float) -> float:
        """Of Student's t interval."""
        return float(stats.t.ppf(0.5 + level / 2, self.degrees_of_freedom) * np.sqrt(self.variance))


def part_of(samples: Mapping[str, Sample], *, n_draws: int = N_DRAWS) -> Part:
    """The part of one system on one task; ``samples`` by repetition, over the same units.

    An error rate is 100 minus it. Draws with nothing to score are put at the value.
    """
    own = [*samples.values()]
    sign, shift = (1.0, 0.0) if own[0].higher_is_better else (-1.0, 100.0)
    points = {name: shift + sign * sample.value for name, sample in samples.items()}
    value = float(np.mean([*points.values()]))
    draws = shift + sign * mean_under(own, n_draws=n_draws)
    return Part(
        value=value,
        draws=np.where(np.isnan(draws), value, draws),
        units=own[0].units,
        n_folds=len(own[0].fold_sizes),
        repetitions=(points,),
        optimism=sign * float(np.mean([sample.optimism for sample in own])),
    )


def difference_of(a: Part, b: Part) -> Part:
    """``b`` minus ``a``, over the same units; both are as optimistic, which cancels.

    Raises:
        ValueError: the units differ.
    """
    if a.units != b.units:
        raise ValueError("both systems must have the same test items")
    return Part(
        value=b.value - a.value,
        draws=b.draws - a.draws,
        units=a.units,
        n_folds=a.n_folds,
        repetitions=(*a.repetitions, *b.repetitions),
    )


def spread_over_tasks(parts: Sequence[Part], *, weights: Sequence[float] | None = None) -> MeanSpread:
    """The spread of the mean of ``parts``, one a task; degrees of freedom after Satterthwaite.

    Args:
        weights: By which a repetition of each system enters the value (b minus a: both enter by 1); see
            :func:`retention_interval`.
    """
    groups: dict[Units, list[Part]] = defaultdict(list)
    for part in parts:
        groups[part.units].append(part)
    terms = []
    for units, own in groups.items():
        df = max(len(units) - own[0].n_folds, 1)
        draws = np.sum([part.draws for part in own], axis=0) / len(parts)
        # A fold of n items drawn n times varies by (n - 1) / n of what it should.
        terms.append((float(draws.var()) * len(units) / df, df))
    terms.append(_over_seeds(parts, weights))
    return MeanSpread(
        value=float(np.mean([part.value for part in parts])),
        variance=sum(term for term, _ in terms),
        degrees_of_freedom=satterthwaite(terms),
        optimism=float(np.mean([part.optimism for part in parts])),
    )


def mean_interval_over_tasks(parts: Sequence[Part], *, level: float = LEVEL) -> Interval | None:
    """The interval of one system's mean points; None where nothing varies."""
    spread = spread_over_tasks(parts)
    if not spread.variance:
        return None
    half, middle = spread.half_width(level), spread.value - spread.optimism
    n_seeds = max(len(part.repetitions[0]) for part in parts)
    seeds = f" and {n_seeds} seeds" if n_seeds > 1 else ""
    return Interval(
        low=min(middle - half, spread.value),
        high=max(middle + half, spread.value),
        level=level,
        method=f"Student's t, bootstrap of the units of {counted(len(parts), 'task')}{seeds}",
    )


def retention_interval(own: Sequence[Part], teacher: Sequence[Part], *, level: float = LEVEL) -> Interval | None:
    """The interval of the ratio of two means in per cent, after Fieller (JRSS B 1954, 16(2), 175-185).

    It holds every ratio r for which own - r * teacher is not told apart from 0: items are shared, seeds are not. Both
    means are taken without their optimism, which a ratio does not cancel; the value itself stays in its interval.

    Args:
        own, teacher: The same tasks in the same order.

    Returns:
        None where the units differ, nothing varies, or the teacher's mean is not told apart from 0.
    """
    pairs = list(zip(own, teacher, strict=True))
    if any(one.units != its.units for one, its in pairs):
        return None

    def at(ratio: float) -> MeanSpread:
        parts = [
            Part(
                value=one.value - ratio * its.value,
                draws=one.draws - ratio * its.draws,
                units=one.units,
                n_folds=one.n_folds,
                repetitions=(*one.repetitions, *its.repetitions),
            )
            for one, its in pairs
        ]
        return spread_over_tasks(parts, weights=(1.0, ratio))

    values, means = (
        [float(np.mean([part.value - less * part.optimism for part in parts])) for parts in (own, teacher)]
        for less in (0, 1)
    )
    middle = at(means[0] / means[1])
    if not middle.variance:
        return None
    # The variance of own - r * teacher is a square in r, known from three of its values.
    v0, v1, v2 = (at(ratio).variance for ratio in (0.0, 1.0, -1.0))
    of_teacher, shared = (v1 + v2) / 2 - v0, (v2 - v1) / 4
    t2 = float(stats.t.ppf(0.5 + level / 2, middle.degrees_of_freedom)) ** 2
    a, b, c = means[1] ** 2 - t2 * of_teacher, means[0] * means[1] - t2 * shared, means[0] ** 2 - t2 * v0
    if a <= 0 or b**2 < a * c:
        return None
    root = float(np.sqrt(b**2 - a * c))
    low, high, kept = (100 * ratio for ratio in ((b - root) / a, (b + root) / a, values[0] / values[1]))
    method = f"Fieller, bootstrap of the units of {counted(len(own), 'task')}"
    return Interval(low=min(low, kept), high=max(high, kept), level=level, method=method)


def _over_seeds(parts: Sequence[Part], weights: Sequence[float] | None) -> tuple[float, int]:
    """What seeds add to the variance of the mean, and its degrees of freedom."""
    n_systems = len(parts[0].repetitions)
    scale = weights or (1.0,) * n_systems
    shared = all(
        part.repetitions[i].keys() == parts[0].repetitions[i].keys() for part in parts for i in range(n_systems)
    )
    if shared:
        means = [
            [float(np.mean([part.repetitions[i][name] for part in parts])) for name in parts[0].repetitions[i]]
            for i in range(n_systems)
        ]
        return _pooled(means, scale)
    alone = [_pooled([[*one.values()] for one in part.repetitions], scale) for part in parts]
    known = [df for _, df in alone if df]
    deviation = sum(variance**0.5 for variance, _ in alone) / len(parts)
    return deviation**2, min(known, default=0)


def _pooled(systems: Sequence[Sequence[float]], scale: Sequence[float]) -> tuple[float, int]:
    """As :func:`seed_variance`, where each system's mean enters with a factor."""
    one, df = seed_variance(systems)
    if not df:
        return 0.0, 0
    of_one = one / sum(1 / len(values) for values in systems)
    return of_one * sum(factor**2 / len(values) for factor, values in zip(scale, systems, strict=True)), df
