"""The paired test: its p-values by hand, its level by simulation, its power, Holm's correction."""

from __future__ import annotations

from typing import Any

import made_samples as made
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from skill_bench.records.record import Record
from skill_bench.report.statistics.paired import Comparison, Units, compare, holm, randomised
from skill_bench.report.statistics.sample import Sample


def of(record: Record, *rights: Any) -> list[Sample]:
    return [made.sample(record, made.label_rows(np.asarray(right))) for right in rights]


def test_equal_predictions_do_not_differ(make_record: Any) -> None:
    right = np.arange(40) % 3 > 0
    found = compare(of(make_record(), right), of(make_record(), right))
    assert (found.difference, found.p_value, found.p_worse) == (0, 1, 1)
    assert (found.interval.low, found.interval.high) == (0, 0)


@pytest.mark.parametrize(("lost", "won"), [(6, 0), (5, 1), (9, 3), (20, 8)])
def test_for_labels_it_is_the_exact_mcnemar_test(lost: int, won: int, make_record: Any) -> None:
    a = np.ones(100)
    b = a.copy()
    a[:won] = 0
    b[won : won + lost] = 0
    found = compare(of(make_record(), a), of(make_record(), b))
    assert found.difference == pytest.approx(won - lost)
    exact = stats.binomtest(won, won + lost)
    # Up to 13 discordant items every sign is tried; above, 10,000 draws have a standard error of 0.002 or less.
    tolerance = 1e-12 if won + lost <= 13 else 0.008
    assert found.p_value == pytest.approx(exact.pvalue, abs=tolerance)
    assert found.p_worse == pytest.approx(stats.binomtest(won, won + lost, alternative="less").pvalue, abs=tolerance)


def test_a_lower_error_rate_is_better(make_record: Any) -> None:
    lengths = np.full(50, 10)
    a, b = made.error_rows(np.full(50, 3), lengths), made.error_rows(np.arange(50) % 3, lengths)
    record = make_record(task="pr")
    found = compare([made.sample(record, a)], [made.sample(record, b)])
    assert found.a == 30
    assert found.b == pytest.approx(9.8)
    assert found.difference == pytest.approx(20.2)
    assert found.p_value < 0.001
    assert found.p_worse > 0.999
    assert 0 < found.interval.low < 20.2 < found.interval.high
    assert found.method == "randomisation"


def test_other_items_cannot_be_compared(make_record: Any) -> None:
    with pytest.raises(ValueError, match="same test items"):
        compare(of(make_record(), np.ones(5)), of(make_record(), np.ones(6)))


def test_equal_error_rates_are_compared_by_t(make_record: Any) -> None:
    g = np.random.default_rng(0)
    record = make_record().model_copy(update={"metric": "eer"})
    same = np.arange(400) % 2 == 0
    shared = g.normal(size=400)
    a, b = (made.trial_rows(same, shared + distance * same + 0.3 * g.normal(size=400)) for distance in (3, 1.5))
    found = compare([made.sample(record, a)], [made.sample(record, b)])
    assert found.method == "t over items"
    assert found.difference < -10
    assert found.p_worse < 1e-4


def simulated(
    g: np.random.Generator, record: Record, *, n: int, n_seeds: int, sd: float, drop: float = 0
) -> Comparison:
    """Two systems of equal items, b with ``drop`` less probability of a right label; ``sd``: what a seed changes."""
    difficulty = g.normal(0, 3, n)
    systems = []
    for less in (0.0, drop):
        p = [made.logistic(1.4 + difficulty + g.normal(0, sd)) - less for _ in range(n_seeds)]
        systems.append(of(record, *(g.random(n) < one for one in p)))
    return compare(*systems, n_draws=400)


@pytest.mark.parametrize(("n_seeds", "sd"), [(1, 0.0), (3, 0.0), (3, 0.5)])
def test_equal_systems_are_rarely_called_different(n_seeds: int, sd: float, make_record: Any) -> None:
    g = np.random.default_rng(0)
    found = [simulated(g, make_record(), n=80, n_seeds=n_seeds, sd=sd) for _ in range(200)]
    assert np.mean([one.p_value < 0.05 for one in found]) <= 0.05
    assert np.mean([one.p_worse < 0.05 for one in found]) <= 0.05
    assert np.mean([one.interval.low <= 0 <= one.interval.high for one in found]) >= 0.92


def test_speakers_whom_one_system_suits_better_are_no_difference_between_systems(make_record: Any) -> None:
    """Ten utterances of each of 20 speakers are not 200 witnesses; over all speakers both systems are equal."""
    g, record = np.random.default_rng(0), make_record()
    who = np.repeat(np.arange(20), 10)
    found: dict[Units, list[Comparison]] = {"items": [], "speakers": []}
    for _ in range(200):
        suits = g.normal(0, 0.75, 20)[who]
        systems = [
            made.spoken(made.label_rows(g.random(200) < made.logistic(0.5 + shift)), who) for shift in (suits, -suits)
        ]
        for units, seen in found.items():
            a, b = ([made.sample(record, rows, by_speaker=units == "speakers")] for rows in systems)
            seen.append(compare(a, b, units=units, n_draws=400))
    alarms = {units: np.mean([one.p_value < 0.05 for one in seen]) for units, seen in found.items()}
    assert alarms["speakers"] <= 0.06
    assert alarms["items"] >= 0.15, "the reason why speakers are drawn whole"
    assert np.mean([one.interval.low <= 0 <= one.interval.high for one in found["speakers"]]) >= 0.91
    assert {(one.units, one.n_units) for one in found["speakers"]} == {("speakers", 20)}


def test_different_systems_are_called_different(make_record: Any) -> None:
    g = np.random.default_rng(0)
    found = [simulated(g, make_record(), n=200, n_seeds=3, sd=0.1, drop=0.1) for _ in range(20)]
    assert np.mean([one.p_worse < 0.05 for one in found]) >= 0.9


def test_without_differences_nothing_is_shown() -> None:
    assert randomised(np.zeros(10)) == (1, 1)
    assert randomised(np.array([-1.0])) == (1, 0.5)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1, 1]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_is_between_the_raw_value_and_bonferroni(p_values: list[float]) -> None:
    for p, adjusted in zip(p_values, holm(p_values), strict=True):
        assert p <= adjusted <= min(1.0, p * len(p_values)) or adjusted == max(holm(p_values))
    order = np.argsort(p_values, kind="stable")
    assert (np.diff(np.array(holm(p_values))[order]) >= 0).all()
