"""Draws of test items, and how far a mean over seeds varies with them and with the seeds.

Seeds share their test items, so the design is crossed: every draw of items is used for all seeds, and what seeds add
is drawn beside it. ``variance = variance over items + s^2 / n_seeds``, with s the standard deviation of the seeds'
values (which contains some of the items' noise: a little too wide rather than too narrow).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy import stats

from skill_bench.report.statistics.sample import Sample

N_DRAWS = 2000
_SEED = 0
_PICKS_AT_ONCE = 2**14
"""Few enough for a processor's cache."""


@dataclass(frozen=True, kw_only=True)
class Spread:
    """How a mean over seeds varies.

    Attributes:
        value: The mean itself.
        draws: Its values in draws of items and seeds (draws,).
        variance: Of the mean, from both sources.
        degrees_of_freedom: Of that variance.
    """

    value: float
    draws: Float[ndarray, " draws"]
    variance: float
    degrees_of_freedom: float

    @property
    def standard_error(self) -> float:
        """The square root of the variance."""
        return float(np.sqrt(self.variance))

    def stretch(self, level: float) -> float:
        """By how much a normal quantile falls short of Student's: small samples need wider intervals."""
        quantile = 1 - (1 - level) / 2
        return float(stats.t.ppf(quantile, self.degrees_of_freedom) / stats.norm.ppf(quantile))

    def percentiles(self, level: float) -> tuple[float, float]:
        """The percentile interval of the draws, stretched around the value (cf. Hesterberg 2015, section 4.1)."""
        tails = np.array([(1 - level) / 2, 1 - (1 - level) / 2])
        low, high = self.value + self.stretch(level) * (np.quantile(self.draws, tails) - self.value)
        return float(low), float(high)


def spread_of(samples: Sequence[Sample], *, n_draws: int = N_DRAWS) -> Spread:
    """The spread of the mean of ``samples``, one a seed, over the same units."""
    values = [sample.value for sample in samples]
    over_seeds, df_seeds = seed_variance([values])
    return combine(
        float(np.mean(values)),
        mean_under(samples, n_draws=n_draws),
        fold_sizes=samples[0].fold_sizes,
        over_seeds=over_seeds,
        df_seeds=df_seeds,
    )


def mean_under(samples: Sequence[Sample], *, n_draws: int = N_DRAWS) -> Float[ndarray, " draws"]:
    """The mean over seeds in every draw of items."""
    weights = draws_of(samples[0].fold_sizes, n_draws)
    return np.asarray(np.mean([sample.drawn(weights) for sample in samples], axis=0))


def seed_variance(systems: Sequence[Sequence[float]]) -> tuple[float, int]:
    """What seeds add to the variance of a sum of means, and its degrees of freedom; (0, 0) where nobody has two seeds.

    The variance of single seeds is pooled over systems, and stands in for a system with one seed.
    """
    df = sum(len(values) - 1 for values in systems)
    if not df:
        return 0.0, 0
    squares = sum(float(np.var(values)) * len(values) for values in systems)
    return squares / df * sum(1 / len(values) for values in systems), df


def combine(
    value: float, draws: Float[ndarray, " draws"], *, fold_sizes: tuple[int, ...], over_seeds: float, df_seeds: int
) -> Spread:
    """A value, its draws over items and the variance from seeds as one spread.

    Draws with nothing to score do not count.
    """
    df_items = max(sum(fold_sizes) - len(fold_sizes), 1)
    # A fold of n items drawn n times varies by (n - 1) / n of what it should.
    shortfall = sum(fold_sizes) / df_items
    draws = draws[~np.isnan(draws)]
    over_items = float(draws.var()) * shortfall
    wide = value + (draws - value) * np.sqrt(shortfall)
    variance = over_items + over_seeds
    noise = np.random.default_rng(_SEED).standard_normal(len(draws)) * np.sqrt(over_seeds)
    return Spread(
        value=value,
        draws=wide + noise,
        variance=variance,
        degrees_of_freedom=satterthwaite([(over_items, df_items), (over_seeds, df_seeds)]),
    )


def satterthwaite(terms: Sequence[tuple[float, float]]) -> float:
    """Degrees of freedom of a sum of variances, each with its own (Biometrics Bulletin 1946, 2(6), 110-114).

    Terms of 0 do not count; of nothing but these, it is the first one's.
    """
    known = [(term, df) for term, df in terms if term] or terms[:1]
    if len(known) == 1:
        return known[0][1]
    return sum(term for term, _ in known) ** 2 / sum(term**2 / df for term, df in known)


@lru_cache(maxsize=3)
def draws_of(fold_sizes: tuple[int, ...], n_draws: int = N_DRAWS) -> Float[ndarray, "draws units"]:
    """How often each unit is drawn: each fold with replacement, as many as it has. The same for the same sizes."""
    generator = np.random.default_rng(_SEED)
    weights = np.empty((n_draws, sum(fold_sizes)), dtype=np.float32)
    start = 0
    for size in fold_sizes:
        picks = generator.integers(0, size, (n_draws, size))
        for first in range(0, n_draws, at_once := -(-_PICKS_AT_ONCE // size)):
            some = picks[first : first + at_once]
            of_draw = size * np.arange(len(some))[:, None]  # units have numbers of their own in each draw
            counts = np.bincount((some + of_draw).ravel(), minlength=some.size)
            weights[first : first + at_once, start : start + size] = counts.reshape(some.shape)
        start += size
    weights.setflags(write=False)
    return weights
