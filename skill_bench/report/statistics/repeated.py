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
