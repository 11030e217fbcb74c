"""The confidence interval of one cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from skill_bench.base.counted import counted
from skill_bench.report.statistics.bootstrap import N_DRAWS, Spread, seed_variance, spread_of
from skill_bench.report.statistics.sample import Sample, mean_of
from skill_bench.report.statistics.skewed import skewed_t

LEVEL = 0.95
LEAST_SPEAKERS = 5
"""More than folds: with fewer, their variance is a guess (see the simulations in the tests)."""
LEAST = {"test item": 24, "query": 30}
"""Units, of rates whose errors come in clusters: 20 recordings gave 92 %, fewer queries were not simulated."""
NO_SPREAD = "every test item scores the same, which says nothing about how much others would vary"


@dataclass(frozen=True, kw_only=True)
class Interval:
    """From ``low`` to ``high`` in the unit of the metric; ``level`` 0.95 means 95 %. ``method`` says how."""

    low: float
    high: float
    level: float = LEVEL
    method: str


def enough_speakers(sample: Sample) -> bool:
    """Whether the units of ``sample``, which are speakers, are enough to tell how much speakers vary."""
    return len(sample.units) - len(sample.fold_sizes) >= LEAST_SPEAKERS


def too_few(sample: Sample) -> str | None:
    """Why an interval of so few units would not cover what it says; None where it does."""
    n, unit = len(sample.units), sample.unit
    if sample.is_proportion:
        return None
    if unit == "speaker":
        n = n - len(sample.fold_sizes) + 1
    least = LEAST_SPEAKERS + 1 if unit == "speaker" else LEAST[unit]
    found = counted(n, f"{unit} is", f"{'queries' if unit == 'query' else f'{unit}s'} are")
    return None if n >= least else f"{found} too few to tell how much others would vary; it takes {least}"


def speaker_interval_of(samples: Sequence[Sample], *, level: float = LEVEL, n_draws: int = N_DRAWS) -> Interval | None:
    """The interval of the mean over seeds when whole speakers are drawn; None for too few of them, or no spread.

    Utterances of one speaker are alike, so that drawing them one by one says how much other utterances of *these*
    speakers would vary. This one says what other speakers would change, and is mostly wider.

    Args:
        samples: One a seed, over the same speakers.
        level: Coverage.
        n_draws: Draws of the bootstrap.
    """
    if not enough_speakers(samples[0]):
        return None
    return _bounded(samples, level=level, n_draws=n_draws)


def interval_of(samples: Sequence[Sample], *, level: float = LEVEL, n_draws: int = N_DRAWS) -> Interval | None:
    """The interval of the mean over seeds of one metric, or None where :func:`too_few` or :data:`NO_SPREAD`.

    Rates of counts get Student's t with their skewness. For other metrics units are drawn with replacement, fold by
    fold, the same for every seed, and the seeds' own variation is added. Proportions (right or wrong labels) get
    Wilson's interval for the number of independent items that would vary as much, since percentiles of draws are too
    narrow near 0 and 100 %; the term-weighted value Student's t around its value without optimism; everything else
    stretched percentiles.

    Args:
        samples: One a seed, over the same units.
        level: Coverage.
        n_draws: Draws of the bootstrap.
    """
    one = samples[0]
    if all(sample.is_proportion for sample in samples):
        spread = spread_of(samples, n_draws=n_draws)
        low, high = _wilson(spread, n_units=len(one.units), level=level)
        return Interval(low=low, high=high, level=level, method=f"Wilson, bootstrap of {_what(samples)}")
    if too_few(one) is not None:
        return None
    return _bounded(samples, level=level, n_draws=n_draws)


def _bounded(samples: Sequence[Sample], *, level: float, n_draws: int) -> Interval | None:
    """Within what the metric can be."""
    one = mean_of(samples)
    if one.counts is not None:
        over_seeds, df_seeds = seed_variance([[sample.value for sample in samples]])
        ends = skewed_t(
            one.value, one.counts, fold_sizes=one.shares, over_seeds=over_seeds, df_seeds=df_seeds, level=level
        )
        method = f"Student's t with skewness over {_what(samples)}"
    else:
        ends = _drawn(one, spread_of(samples, n_draws=n_draws), level=level)
        method = f"bootstrap of {_what(samples)}"
    if ends is None:
        return None
    return Interval(low=max(ends[0], 0.0), high=min(ends[1], one.highest), level=level, method=method)


def _drawn(one: Sample, spread: Spread, *, level: float) -> tuple[float, float] | None:
    """Of a metric that is no ratio of counts."""
    if spread.standard_error == 0:
        return None
    if not one.optimism:
        return spread.percentiles(level)
    half = float(stats.t.ppf(0.5 + level / 2, spread.degrees_of_freedom)) * spread.standard_error
    middle = spread.value - one.optimism
    # The value stays in its interval, should more than half of that be optimism.
    return middle - half, max(middle + half, spread.value)


def _wilson(spread: Spread, *, n_units: int, level: float) -> tuple[float, float]:
    """In percent. The number of items is the effective one, from the bootstrap's variance (Korn and Graubard 1998)."""
    p = spread.value / 100
    variance = spread.variance / 100**2
    n = p * (1 - p) / variance if variance > 0 and 0 < p < 1 else n_units
    z = float(stats.t.ppf(1 - (1 - level) / 2, spread.degrees_of_freedom))
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    # It holds the value, and at 0 and 100 % ends there, but for rounding.
    return min(100 * max(0.0, float(centre - half)), spread.value), max(
        100 * min(1.0, float(centre + half)), spread.value
    )


def _what(samples: Sequence[Sample]) -> str:
    n, unit = len({name for _, name in samples[0].units}), samples[0].unit
    return counted(n, unit, "queries" if unit == "query" else None) + (
        f" and {len(samples)} seeds" if len(samples) > 1 else ""
    )
