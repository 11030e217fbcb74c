"""Student's t with skewness: by hand where nothing is skewed, and each ingredient alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from skill_bench.report.statistics.skewed import contributions, skewed_t

EVEN = np.array([1.0, 2, 3, 4, 5, 6, 7, 8, 9])
SKEWED = np.array([1.0, 1, 1, 1, 1, 2, 2, 3, 20])
LENGTHS = np.full(9, 40.0)


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
