"""Student's t for ratios of counts, the side that their skewness points to made longer.

Errors come in clusters: a few recordings hold most of them, and a sample without such a one has a low rate and a small
standard error at once. To the first order, the quantile t of Student's statistic then lies at ``t + (2 t^2 + 1) / 6 *
g``, g being the skewness of the rate (Hall, JRSS B 1992, 54(1), 221-228, equation 2.1). That is added twice: once
because Student's t has none of it, and once because a small sample shows about half of what its population has. The
other side is left as it is, although Hall's would be shorter: it is never too narrow for that.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy import stats

from skill_bench.report.statistics.bootstrap import satterthwaite

NOTHING = 1e-18
"""Squared percentages below this are rounding: all units have one rate."""
Counts = tuple[Float[ndarray, " units"], Float[ndarray, " units"]]


def skewed_t(
    value: float,
    counts: Counts,
    *,
    fold_sizes: tuple[int, ...],
    over_seeds: float,
    df_seeds: int,
    level: float,
) -> tuple[float, float] | None:
    """The interval around ``value``, in percent; None where nothing varies.

    Args:
        counts: Numerators and denominators, means over seeds; numerators may be differences of two systems.
        fold_sizes: Of folds with equal shares in the value; their units' number alone where all are one.
        over_seeds: What seeds add to the variance, in percent squared.
        df_seeds: Its degrees of freedom.
        level: Coverage.
    """
    deviations = _deviations(counts, fold_sizes)
    squares, df_items = float((deviations**2).sum()), len(deviations) - len(fold_sizes)
    if squares < NOTHING or not df_items:
        return None
    over_items = squares * len(deviations) / df_items
    variance = over_items + over_seeds
    skewness = float((deviations**3).sum()) / squares**1.5 * (over_items / variance) ** 1.5
    t = float(stats.t.ppf(0.5 + level / 2, satterthwaite([(over_items, df_items), (over_seeds, df_seeds)])))
    longer = 2 * (2 * t**2 + 1) / 6 * skewness
    error = variance**0.5
    return value - error * (t + max(-longer, 0.0)), value + error * (t + max(longer, 0.0))


def contributions(counts: Counts, fold_sizes: tuple[int, ...]) -> Float[ndarray, " units"]:
    """What each unit's numerator adds to the percentage (mean over folds); arguments as of :func:`skewed_t`."""
    fold = np.repeat(np.arange(len(fold_sizes)), fold_sizes)
    totals = np.bincount(fold, weights=counts[1])
    return np.asarray(100 * counts[0] / totals[fold] / len(fold_sizes))


def _deviations(counts: Counts, fold_sizes: tuple[int, ...]) -> Float[ndarray, " units"]:
    """How far each unit draws the percentage from where the others of its fold have it, by linearisation."""
    top, bottom = counts
    fold = np.repeat(np.arange(len(fold_sizes)), fold_sizes)
    ratios = np.bincount(fold, weights=top) / np.bincount(fold, weights=bottom)
    return contributions((top - ratios[fold] * bottom, bottom), fold_sizes)
