"""How far a dev metric moves when its items are drawn anew: what a race may not decide by."""

from __future__ import annotations

import math

import numpy as np
import pytest

from skill_bench.metrics.ratio import Ratio, pooled, standard_error_percent
from skill_bench.metrics.verification import equal_error_noise


def test_for_right_or_wrong_items_it_is_binomial() -> None:
    shares = [Ratio(numerator=int(i < 30), denominator=1) for i in range(100)]
    assert standard_error_percent(shares) == pytest.approx(100 * math.sqrt(0.3 * 0.7 / 99))


def test_for_error_rates_it_is_that_of_utterances_drawn_anew() -> None:
    draw = np.random.default_rng(0)
    words = draw.integers(3, 15, size=80)
    shares = [Ratio(numerator=int(draw.binomial(n, draw.choice([0.1, 0.7]))), denominator=int(n)) for n in words]
    again = [pooled([shares[i] for i in draw.integers(0, 80, size=80)]).percent for _ in range(4000)]
    # 4,000 draws know their spread to 1.1 %; the formula is the first term of a series.
    assert standard_error_percent(shares) == pytest.approx(float(np.std(np.array(again, dtype=float))), rel=0.06)


@pytest.mark.parametrize("right", [0, 1])
def test_items_that_are_all_alike_are_not_without_noise(right: int) -> None:
    assert standard_error_percent([Ratio(numerator=right, denominator=1)] * 50) == 2.0


@pytest.mark.parametrize("shares", [[], [Ratio(numerator=1, denominator=2)], [Ratio(numerator=0, denominator=0)] * 3])
def test_too_few_items_tell_nothing(shares: list[Ratio]) -> None:
    assert standard_error_percent(shares) == math.inf


def test_of_an_equal_error_rate() -> None:
    same = [True] * 40 + [False] * 60
    assert equal_error_noise(20.0, same=same) == pytest.approx(50 * math.sqrt(0.16 * (1 / 40 + 1 / 60)))
    assert equal_error_noise(0.0, same=same) == 100 / 40
