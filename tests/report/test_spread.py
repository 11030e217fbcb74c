"""How far a value spreads, against formulas: a mean's variance, of which small folds show what n / (n - 1) does; then
Student's t with skewness, by hand where nothing is skewed, and each ingredient alone."""

from __future__ import annotations

from typing import Any

import made_samples as made
import numpy as np
import pytest
from scipy import stats

from skill_bench.report.statistics.bootstrap import combine, draws_of, mean_under, seed_variance, spread_of
from skill_bench.report.statistics.skewed import contributions, skewed_t

N_DRAWS = 20_000
# The variance of 20,000 draws has a standard error of 1 % (sqrt(2 / n)); four of them.
CLOSE = 0.04
EVEN = np.array([1.0, 2, 3, 4, 5, 6, 7, 8, 9])
SKEWED = np.array([1.0, 1, 1, 1, 1, 2, 2, 3, 20])
LENGTHS = np.full(9, 40.0)


def accuracies(make_record: Any, *right: str, folds: tuple[int, ...] = ()) -> list[Any]:
    """A sample a seed, of items written as 1 and 0."""
    rows = [made.label_rows(np.array([letter == "1" for letter in one]), folds=folds) for one in right]
    return [made.sample(make_record(), own) for own in rows]


@pytest.mark.parametrize("right", ["110", "1101", "11010010"])
def test_over_items_it_is_the_variance_of_the_sample_mean(right: str, make_record: Any) -> None:
    found = spread_of(accuracies(make_record, right), n_draws=N_DRAWS)
    values = 100 * np.array([float(c) for c in right])
    assert found.value == pytest.approx(values.mean())
    assert found.variance == pytest.approx(values.var(ddof=1) / len(values), rel=CLOSE)
    assert found.draws.var() == pytest.approx(found.variance, rel=1e-9), "the draws are as wide as the variance"
    assert found.degrees_of_freedom == len(values) - 1


def test_every_fold_costs_a_degree_of_freedom(make_record: Any) -> None:
    """Two folds of three items: (n - 1) / n of each is missing, 6 / 4 in all."""
    one = accuracies(make_record, "110100", folds=(3, 3))
    found = spread_of(one, n_draws=N_DRAWS)
    drawn = mean_under(one, n_draws=N_DRAWS).var()
    assert found.degrees_of_freedom == 4
    assert found.variance == pytest.approx(drawn * 6 / 4, rel=1e-9)


def test_seeds_add_their_own_variance_and_divide_it_by_their_number(make_record: Any) -> None:
    values = [60.0, 66.0, 72.0]
    variance, df = seed_variance([values])
    assert (variance, df) == pytest.approx((np.var(values, ddof=1) / 3, 2))
    assert seed_variance([[60.0], [70.0, 72.0]]) == pytest.approx((2.0 * (1 + 1 / 2), 1))
    draws = np.array([60.0, 62.0, 64.0, 66.0])
    alone = combine(63.0, draws, fold_sizes=(4,), over_seeds=0.0, df_seeds=0)
    both = combine(63.0, draws, fold_sizes=(4,), over_seeds=7.0, df_seeds=2)
    assert alone.variance == pytest.approx(5.0 * 4 / 3)
    assert both.variance == pytest.approx(alone.variance + 7.0)
    # Satterthwaite by hand: v^2 / (a^2 / 3 + b^2 / 2).
    a, b = 20 / 3, 7.0
    assert both.degrees_of_freedom == pytest.approx((a + b) ** 2 / (a**2 / 3 + b**2 / 2))


def test_each_fold_is_drawn_as_often_as_it_has_items() -> None:
    weights = draws_of((3, 5), 50)
    assert set(weights[:, :3].sum(axis=1)) == {3.0}
    assert set(weights[:, 3:].sum(axis=1)) == {5.0}


@pytest.mark.parametrize("fold_sizes", [(1,), (3, 5), (7_000,)])
def test_draws_are_counts_of_numbers_drawn_fold_by_fold(fold_sizes: tuple[int, ...]) -> None:
    """However many draws are counted at once."""
    generator, parts = np.random.default_rng(0), []
    for size in fold_sizes:
        picks = generator.integers(0, size, (50, size))
        parts.append(np.stack([np.bincount(picked, minlength=size) for picked in picks]))
    assert (draws_of(fold_sizes, 50) == np.concatenate(parts, axis=1)).all()


def ends(top: Any, bottom: Any = LENGTHS, **changes: Any) -> tuple[float, float]:
    given: dict[str, Any] = {"fold_sizes": (len(top),), "over_seeds": 0.0, "df_seeds": 0, "level": 0.95} | changes
    value = float(contributions((top, bottom), given["fold_sizes"]).sum())
    found = skewed_t(value, (top, bottom), **given)
    assert found is not None
    return found[0] - value, found[1] - value


def test_without_skewness_it_is_students_t() -> None:
    percentages = 100 * EVEN / 40
    expected = stats.t.interval(0.95, 8, scale=stats.sem(percentages))
    assert ends(EVEN) == pytest.approx(expected)


def test_the_side_of_the_skewness_is_longer_by_twice_halls_term() -> None:
    percentages = 100 * SKEWED / 40
    error, t = stats.sem(percentages), stats.t.ppf(0.975, 8)
    skewness = stats.skew(percentages) / 3  # of the mean of nine
    low, high = ends(SKEWED)
    assert low == pytest.approx(-t * error)
    assert high == pytest.approx((t + 2 * (2 * t**2 + 1) / 6 * skewness) * error)
    assert high > 1.5 * -low


def test_the_other_direction_is_the_mirror() -> None:
    low, high = ends(SKEWED)
    assert ends(-SKEWED) == pytest.approx((-high, -low))


def test_lengths_matter_beside_errors() -> None:
    """A recording with twice the speech and twice the errors has the others' rate."""
    top, bottom = np.append(EVEN, 10.0), np.append(LENGTHS, 80.0)
    assert ends(top, bottom)[1] < ends(np.append(EVEN, 10.0), np.append(LENGTHS, 40.0))[1]
    assert skewed_t(12.5, (bottom / 8, bottom), fold_sizes=(10,), over_seeds=0, df_seeds=0, level=0.95) is None


def test_seeds_add_variance_and_take_away_skewness() -> None:
    low, high = ends(SKEWED)
    of_seeds = ends(SKEWED, over_seeds=40.0, df_seeds=30)
    assert of_seeds[0] < low
    assert of_seeds[1] / -of_seeds[0] < high / -low


def test_folds_have_equal_shares() -> None:
    """Two folds whose rates differ: what a unit adds is beside its own fold, and half of that counts."""
    top, bottom = np.concatenate([EVEN, EVEN + 20]), np.full(18, 40.0)
    alone = stats.sem(100 * EVEN / 40)
    half = stats.t.ppf(0.975, 16) * alone / 2**0.5
    assert ends(top, bottom, fold_sizes=(9, 9)) == pytest.approx((-half, half))
