"""The confidence interval of one cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from skill_bench.report.statistics.bootstrap import N_DRAWS, Spread, spread_of
from skill_bench.report.statistics.sample import Sample

LEVEL = 0.95
LEAST_SPEAKERS = 5
"""More than folds: with fewer, their variance is a guess (see the simulations in the tests)."""
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


def speaker_interval_of(samples: Sequence[Sample], *, level: float = LEVEL, n_draws: int = N_DRAWS) -> Interval | None:
    """The interval of the mean over seeds when whole speakers are drawn; None for too few of them, or no spread.

    Utterances of one speaker are alike, so that drawing them one by one says how much other utterances of *these*
    speakers would vary. This one says what other speakers would change, and is mostly wider.

    Args:
        samples: One a seed, over the same speakers.
        level: Coverage.
        n_draws: Draws of the bootstrap.
    """
    one = samples[0]
    spread = spread_of(samples, n_draws=n_draws)
    if not enough_speakers(one) or spread.standard_error == 0:
        return None
    n_speakers = len({name for _, name in one.units})
    return _percentiles(spread, one, level=level, method=f"bootstrap of {n_speakers} speakers")


def interval_of(samples: Sequence[Sample], *, level: float = LEVEL, n_draws: int = N_DRAWS) -> Interval | None:
    """The interval of the mean over seeds of one metric, or None where :data:`NO_SPREAD`.

    Test items are drawn with replacement, fold by fold, the same for every seed; the seeds' own variation is added.
    Proportions (right or wrong labels) get Wilson's interval for the number of independent items that would vary as
    much, since percentiles of draws are too narrow near 0 and 100 %; everything else gets stretched percentiles.

    Args:
        samples: One a seed, over the same units.
        level: Coverage.
        n_draws: Draws of the bootstrap.
    """
    one = samples[0]
    spread = spread_of(samples, n_draws=n_draws)
    if all(sample.is_proportion for sample in samples):
        low, high = _wilson(spread, n_units=len(one.units), level=level)
        return Interval(low=low, high=high, level=level, method=f"Wilson, bootstrap of {_what(samples)}")
    if spread.standard_error == 0:
        return None
    return _percentiles(spread, one, level=level, method=f"bootstrap of {_what(samples)}")


def _percentiles(spread: Spread, sample: Sample, *, level: float, method: str) -> Interval:
    """Within what the metric can be."""
    low, high = spread.percentiles(level)
    return Interval(low=max(low, 0.0), high=min(high, sample.highest), level=level, method=method)


def _wilson(spread: Spread, *, n_units: int, level: float) -> tuple[float, float]:
    """In percent. The number of items is the effective one, from the bootstrap's variance (Korn and Graubard 1998)."""
    p = spread.value / 100
    variance = spread.variance / 100**2
    n = p * (1 - p) / variance if variance > 0 and 0 < p < 1 else n_units
    z = float(stats.t.ppf(1 - (1 - level) / 2, spread.degrees_of_freedom))
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return 100 * max(0.0, float(centre - half)), 100 * min(1.0, float(centre + half))


def _what(samples: Sequence[Sample]) -> str:
    return f"{len(samples[0].units)} test items" + (f" and {len(samples)} seeds" if len(samples) > 1 else "")
