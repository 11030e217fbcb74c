"""Are two systems different on the same test items? A paired test, and Holm's correction for several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy import stats

from skill_bench.report.statistics.bootstrap import N_DRAWS, Spread, combine, seed_variance
from skill_bench.report.statistics.interval import LEVEL, Interval
from skill_bench.report.statistics.mean import Part, difference_of, part_of, spread_over_tasks
from skill_bench.report.statistics.sample import Sample
from skill_bench.report.statistics.skewed import Counts, contributions, skewed_t

N_PERMUTATIONS = 10_000
_AT_ONCE = 2_000_000
_SEED = 0
Units = Literal["items", "speakers"]
Name = TypeVar("Name")


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """``b`` beside ``a`` on one task.

    Attributes:
        a, b: The metric, mean over seeds.
        difference: b's points minus a's: positive where b is better, whichever direction the metric has.
        interval: Of the difference.
        standard_error: Of the difference, over items and, with several seeds, over seeds.
        degrees_of_freedom: Of the standard error.
        p_value: Two-sided.
        p_worse: One-sided, for b being worse.
        units: What is swapped and drawn: test items (utterances, enrolments, queries), or whole speakers.
        n_units: How many.
        n_seeds: Of a and of b.
        method: Of the test.
        part: What enters the mean over tasks, see :func:`overall`.
    """

    a: float
    b: float
    difference: float
    interval: Interval
    standard_error: float
    degrees_of_freedom: float
    p_value: float
    p_worse: float
    units: Units
    n_units: int
    n_seeds: tuple[int, int]
    method: str
    part: Part


def compare(
    a: Sequence[Sample] | Mapping[str, Sample],
    b: Sequence[Sample] | Mapping[str, Sample],
    *,
    level: float = LEVEL,
    n_draws: int = N_DRAWS,
    units: Units = "items",
) -> Comparison:
    """Tests whether ``a`` and ``b``, samples of one metric by seed over the same units, have the same expectation.

    Where units have counts, the test is randomisation: under the null hypothesis each unit's two results may be swapped
    (Noreen 1989), so all swaps are as likely; p counts the random ones with as large a difference. With several seeds
    the difference must also be large beside its standard error over units and seeds (Student's t), because swapping
    units knows nothing of how much a training seed matters: p is the larger of both. Metrics without counts (EER, MTWV)
    have the t-test alone.

    Args:
        a, b: One sample a seed; by the seed's name where other tasks have the same seeds.
        level: Of the interval.
        n_draws: Draws of the bootstrap.
        units: What the samples' units are.

    Raises:
        ValueError: the units differ.
    """
    by_name = [_named(samples) for samples in (a, b)]
    a, b = ([*samples.values()] for samples in by_name)
    one = a[0]
    if any(sample.units != one.units for sample in (*a, *b)):
        raise ValueError("both systems must have the same test items")
    sign = 1.0 if one.higher_is_better else -1.0
    values_a, values_b = ([sample.value for sample in samples] for samples in (a, b))
    over_seeds, df_seeds = seed_variance([values_a, values_b])
    part = difference_of(*(part_of(samples, n_draws=n_draws) for samples in by_name))
    spread = combine(
        sign * float(np.mean(values_b) - np.mean(values_a)),
        part.draws,
        fold_sizes=one.fold_sizes,
        over_seeds=over_seeds,
        df_seeds=df_seeds,
    )
    interval = shares = None
    if (counts := _gained(a, b, sign)) is not None:
        interval = skewed_t(
            spread.value, counts, fold_sizes=one.shares, over_seeds=over_seeds, df_seeds=df_seeds, level=level
        )
        shares = contributions(counts, one.shares)
    low, high = interval or spread.percentiles(level)
    two_sided, worse, method = _tested(spread, shares, units=units, several_seeds=df_seeds > 0)
    return Comparison(
        a=float(np.mean(values_a)),
        b=float(np.mean(values_b)),
        difference=spread.value,
        interval=Interval(
            low=low, high=high, level=level, method=f"paired {'bootstrap' if interval is None else 't with skewness'}"
        ),
        standard_error=spread.standard_error,
        degrees_of_freedom=spread.degrees_of_freedom,
        p_value=two_sided,
        p_worse=worse,
        units=units,
        n_units=len(one.units),
        n_seeds=(len(a), len(b)),
        method=method,
        part=part,
    )


def _tested(
    spread: Spread, shares: Float[ndarray, " units"] | None, *, units: Units, several_seeds: bool
) -> tuple[float, float, str]:
    """p for any difference, and for a negative one; and by which test. ``shares``: what units add, where they do."""
    student = _student(spread.value, spread.standard_error, spread.degrees_of_freedom)
    by_t = f"t over {units}{' and seeds' if several_seeds else ''}"
    if shares is None:
        return *student, by_t
    swapped = randomised(shares)
    if not several_seeds:
        return *swapped, "randomisation"
    return max(student[0], swapped[0]), max(student[1], swapped[1]), f"randomisation, {by_t}"


def _named(samples: Sequence[Sample] | Mapping[str, Sample]) -> Mapping[str, Sample]:
    return samples if isinstance(samples, Mapping) else {str(i): sample for i, sample in enumerate(samples)}


@dataclass(frozen=True, kw_only=True)
class Overall:
    """The mean over tasks of the differences."""

    difference: float
    interval: Interval
    p_value: float
    p_worse: float


def overall(tasks: Sequence[Comparison], *, level: float = LEVEL) -> Overall:
    """Whether ``b`` differs in the mean of the points of ``tasks``, which are one or more; Student's t.

    Seeds are taken from each one's mean over tasks, items drawn together where tasks share them, see
    `skill_bench.report.statistics.mean`.
    """
    return overall_of([task.part for task in tasks], level=level)


def overall_of(parts: Sequence[Part], *, level: float = LEVEL) -> Overall:
    """The same from differences of tasks that were not tested one by one."""
    spread = spread_over_tasks(parts)
    difference, half = spread.value, spread.half_width(level)
    two_sided, worse = _student(difference, spread.variance**0.5, spread.degrees_of_freedom)
    return Overall(
        difference=difference,
        interval=Interval(low=difference - half, high=difference + half, level=level, method="Student's t"),
        p_value=two_sided,
        p_worse=worse,
    )


def _student(difference: float, standard_error: float, df: float) -> tuple[float, float]:
    """p for any difference, and for a negative one."""
    if standard_error == 0:
        return (1.0, 1.0) if difference == 0 else (0.0, float(difference > 0))
    t = difference / standard_error
    return 2 * float(stats.t.sf(abs(t), df)), float(stats.t.cdf(t, df))


def _gained(a: Sequence[Sample], b: Sequence[Sample], sign: float) -> Counts | None:
    """By how much each item is better in b, and the denominators; None where the value is no sum over items."""
    counts = [sample.counts for sample in (*a, *b)]
    known = [pair for pair in counts if pair is not None]
    denominators = known[0][1] if known else None
    if denominators is None or len(known) < len(counts) or any((d != denominators).any() for _, d in known):
        return None
    numerators = [n for n, _ in known]
    gained = np.mean(numerators[len(a) :], axis=0) - np.mean(numerators[: len(a)], axis=0)
    return sign * gained, denominators


def randomised(shares: Float[ndarray, " items"]) -> tuple[float, float]:
    """p for a sum of ``shares`` this far from 0, and for one this low, when each may as well have the other sign.

    All signs are tried where that is feasible, else `N_PERMUTATIONS` random ones, of which none leaves p = 0.
    """
    shares = shares[shares != 0]
    n, total = len(shares), shares.sum()
    slack = 1e-9 * np.abs(shares).sum()  # sums of the same shares in another order
    far = low = done = 0
    exact = 2**n <= N_PERMUTATIONS
    generator = np.random.default_rng(_SEED)
    n_signs = 2**n if exact else N_PERMUTATIONS
    at_once = max(1, _AT_ONCE // max(n, 1))
    while done < n_signs:
        numbers = np.arange(done, min(done + at_once, n_signs))
        if exact:
            positive = (numbers[:, None] >> np.arange(n)) & 1
        else:
            positive = generator.integers(0, 2, (len(numbers), n), dtype=np.int8)
        sums = 2 * (positive @ shares) - total
        far += int((np.abs(sums) >= abs(total) - slack).sum())
        low += int((sums <= total + slack).sum())
        done += len(numbers)
    own = 0 if exact else 1
    return (far + own) / (n_signs + own), (low + own) / (n_signs + own)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values after Holm (Scandinavian Journal of Statistics 1979, 6, 65-70), in the order given."""
    adjusted, running = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = running
    return adjusted


def holm_by_name(p_values: Mapping[Name, float | None]) -> dict[Name, float]:
    """The same for p-values that have names; what was not tested (None) is left out and does not count."""
    known = {name: p for name, p in p_values.items() if p is not None}
    return dict(zip(known, holm([*known.values()]), strict=True))
