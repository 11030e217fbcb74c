"""The bootstrap-t interval of a ratio of counts (Efron and Tibshirani 1993, chapter 12; Davison and Hinkley 1997, 2.4).

Errors are skewed: few recordings carry most of them, and a sample without such a one has a small value and a small
standard error at once. Percentiles of the values miss that; each draw's distance in its own standard errors does not.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy import ndarray

LEAST_IN_A_FOLD = 5
"""Below, the variance within a fold is 0 in too many draws to divide by."""
Counts = tuple[Float[ndarray, " units"], Float[ndarray, " units"]]


def studentised(
    counts: Counts,
    weights: Float[ndarray, "draws units"],
    *,
    fold_sizes: tuple[int, ...],
    over_seeds: float,
    df_seeds: int,
    level: float,
) -> tuple[float, float] | None:
    """The interval in percent; None where too few draws vary.

    Args:
        counts: Numerators and denominators, means over seeds.
        weights: How often each unit is drawn.
        fold_sizes: Of folds with equal shares in the value; their units' number alone where all are one.
        over_seeds: What seeds add to the variance, in percent squared; they are drawn beside the units.
        df_seeds: Its degrees of freedom.
        level: Coverage.
    """
    everyone = np.ones((1, weights.shape[1]))
    (value,), (own,) = _moments(counts, everyone, fold_sizes)
    values, variances = _moments(counts, weights, fold_sizes)
    over_seeds /= 100**2
    generator = np.random.default_rng(0)
    shift, spread = np.zeros(len(values)), np.zeros(len(values))
    if df_seeds:
        shift = generator.standard_normal(len(values)) * np.sqrt(over_seeds)
        spread = over_seeds * generator.chisquare(df_seeds, len(values)) / df_seeds
    with np.errstate(invalid="ignore", divide="ignore"):
        distances = (values - value + shift) / np.sqrt(variances + spread)
    distances = distances[np.isfinite(distances)]
    if len(distances) < 0.9 * len(values) or own + over_seeds == 0:
        return None
    low, high = np.quantile(distances, [(1 - level) / 2, 1 - (1 - level) / 2])
    error = np.sqrt(own + over_seeds)
    return float(100 * (value - high * error)), float(100 * (value - low * error))


def _moments(
    counts: Counts, weights: Float[ndarray, "draws units"], fold_sizes: tuple[int, ...]
) -> tuple[Float[ndarray, " draws"], Float[ndarray, " draws"]]:
    """The ratio (mean over folds) and its variance by linearisation, under each row of weights."""
    values, variances = np.zeros(len(weights)), np.zeros(len(weights))
    ends = np.cumsum(fold_sizes).tolist()
    for end, n in zip(ends, fold_sizes, strict=True):
        own = slice(end - n, end)
        top, bottom = counts[0][own], counts[1][own]
        sums = weights[:, own] @ np.stack([top, bottom, top * top, top * bottom, bottom * bottom], axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = sums[:, 0] / sums[:, 1]
            squares = sums[:, 2] - 2 * ratio * sums[:, 3] + ratio**2 * sums[:, 4]
            variances += np.where(squares > 1e-9 * sums[:, 2], squares, 0.0) * n / (n - 1) / sums[:, 1] ** 2
        values += ratio
    return values / len(fold_sizes), variances / len(fold_sizes) ** 2
