"""Means over trainings that were each evaluated several times."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from scipy import stats

from skill_bench.report.statistics.interval import LEVEL, Interval


def mean_interval(values: Sequence[float], *, level: float = LEVEL) -> Interval | None:
    """Student's t interval of the mean of independent ``values``; None for fewer than two.

    What is independent is the training: where a student is evaluated with several seeds, give its mean over them once.
    """
    n = len(values)
    if n < 2:
        return None
    half = float(stats.t.ppf(0.5 + level / 2, n - 1)) * statistics.stdev(values) / math.sqrt(n)
    mean = statistics.fmean(values)
    return Interval(low=mean - half, high=mean + half, level=level, method=f"Student's t over {n} values")


def difference_interval(a: Sequence[float], b: Sequence[float], *, level: float = LEVEL) -> Interval | None:
    """Welch's interval of mean(b) - mean(a), unequal variances; None unless both have two values that vary."""
    if len(a) < 2 or len(b) < 2:
        return None
    of_a, of_b = statistics.variance(a) / len(a), statistics.variance(b) / len(b)
    if of_a + of_b == 0:
        return None
    share = of_a / (of_a + of_b)  # squares of the variances themselves may vanish
    freedom = 1 / (share**2 / (len(a) - 1) + (1 - share) ** 2 / (len(b) - 1))
    half = float(stats.t.ppf(0.5 + level / 2, freedom)) * math.sqrt(of_a + of_b)
    mean = statistics.fmean(b) - statistics.fmean(a)
    method = f"Welch's t, {len(a)} and {len(b)} values"
    return Interval(low=mean - half, high=mean + half, level=level, method=method)
