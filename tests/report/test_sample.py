"""Metrics under weights are the metrics themselves; a weight of 2 is a row that is there twice.

The paired test: its p-values by hand, its level by simulation, its power, Holm's correction.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import made_samples as made
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from skill_bench.base.errors import RecordError
from skill_bench.metrics.scoring import score
from skill_bench.records.record import Record
from skill_bench.report.statistics.paired import Comparison, Units, compare, holm, randomised
from skill_bench.report.statistics.sample import Sample, knows_speakers, mean_of, sample_of
from skill_bench.report.statistics.weighted import speakers_of


def draw(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def repeated(rows: made.Rows, field: str, sample: Any, weights: list[int]) -> made.Rows:
    """The rows as often as their unit's weight, under new ids."""
    times = dict(zip(sample.units, weights, strict=True))
    return [
        {**row, "id": f"{row['id']}x{k}", field: f"{row[field]}x{k}"}
        for row in rows
        for k in range(times[row["fold"], row[field]])
    ]


CASES: dict[str, Callable[[], made.Rows]] = {
    "accuracy": lambda: made.label_rows(draw().random(40) < 0.7),
    "per": lambda: made.error_rows(draw().binomial(9, 0.3, 40), np.full(40, 9) + np.arange(40)),
    "eer": lambda: made.trial_rows(draw(1).random(60) < 0.4, draw(2).integers(0, 12, 60), per_enrolment=3),
    "mtwv": lambda: [
        {
            "id": f"{q}-{d}",
            "fold": "all",
            "query": f"q{q:02d}",
            "document": f"d{d}",
            # Rare enough among many that a threshold below 1 is worth its alarms; q0 is nowhere.
            "target": "present" if q and d < 3 else "absent",
            "score": float(x) + (3 if d < 3 else 0),
        }
        for (q, d), x in zip(np.ndindex(8, 12), draw(3).normal(size=96), strict=True)
    ],
}


@pytest.mark.parametrize("metric", CASES)
def test_value_and_weights_agree_with_the_scorer(metric: str, make_record: Any) -> None:
    rows = CASES[metric]()
    record = make_record().model_copy(update={"metric": metric})
    found = made.sample(record, rows)
    expected = score(metric, rows)[0][metric].value
    assert expected is not None
    assert 0 < expected < 100
    assert found.value == pytest.approx(expected, rel=1e-12)
    if metric == "eer":
        return by_speaker_on_both_sides(found, rows)
    field = {"mtwv": "query"}.get(metric, "id")
    assert len(found.units) == len({row[field] for row in rows})
    for weights in draw(4).integers(0, 3, (5, len(found.units))):
        again = score(metric, repeated(rows, field, found, weights.tolist()))[0][metric].value
        assert again is not None
        assert found.under(weights[None].astype(float))[0] == pytest.approx(again, rel=1e-9)


def by_speaker_on_both_sides(found: Any, rows: made.Rows) -> None:
    """A trial is there as often as both of its speakers together; once for each where they are the same."""
    who = speakers_of(rows)
    assert {name for _, name in found.units} == set(who.values())
    for weights in draw(4).integers(1, 4, (5, len(found.units))):
        times = dict(zip([name for _, name in found.units], weights.tolist(), strict=True))
        again = [
            {**row, "id": f"{row['id']}x{k}"}
            for row in rows
            for first, second in [(who[row["enrolment"]], who[row["test"]])]
            for k in range(times[first] if first == second else times[first] * times[second])
        ]
        assert len(again) > len(rows)
        value = score("eer", again)[0]["eer"].value
        assert found.under(weights[None].astype(float))[0] == pytest.approx(value, rel=1e-9)


def test_recordings_tied_by_trials_of_one_speaker_are_one_speaker() -> None:
    pairs = [
        ("a", "b", "same"),
        ("c", "b", "same"),
        ("d", "e", "same"),
        ("a", "d", "different"),
        ("f", "e", "different"),
    ]
    who = speakers_of([{"enrolment": e, "test": t, "target": target} for e, t, target in pairs])
    assert who == {"a": "a", "b": "a", "c": "a", "d": "d", "e": "d", "f": "f"}


def test_speakers_that_rows_name_are_known_where_trials_do_not_tie_them() -> None:
    names = {"a": "Ann", "b": "Ann", "c": "Bob", "d": "Bob", "e": "Ann"}
    rows = [
        {"enrolment": e, "test": t, "target": target, "enrolment_speaker": names[e], "test_speaker": names[t]}
        for e, t, target in (("b", "a", "same"), ("a", "d", "different"), ("e", "c", "different"))
    ]
    assert speakers_of(rows) == {"a": "a", "b": "a", "e": "a", "c": "c", "d": "c"}


@pytest.mark.parametrize("metric", CASES)
def test_a_mean_of_samples_is_one_sample(metric: str, make_record: Any) -> None:
    record = make_record().model_copy(update={"metric": metric})
    rows = CASES[metric]()
    worse = [row | ({"score": -row["score"]} if "score" in row else {"numerator": 1}) for row in rows]
    one, other = made.sample(record, rows), made.sample(record, worse)
    assert one.value != other.value
    both = mean_of([one, other, other])
    assert both.value == pytest.approx((one.value + 2 * other.value) / 3, rel=1e-12)
    weights = draw(5).integers(0, 3, (4, len(one.units))).astype(float)
    assert both.under(weights) == pytest.approx((one.under(weights) + 2 * other.under(weights)) / 3, rel=1e-12)
    assert (both.counts is None) == (one.counts is None)
    if both.counts is not None:
        assert 100 * both.counts[0].sum() / both.counts[1].sum() == pytest.approx(both.value, rel=1e-12)
    fewer = made.sample(record, [row for row in rows if row.get("query") != "q01"][: len(rows) - 12])
    with pytest.raises(ValueError, match="same test items"):
        mean_of([one, fewer])


def test_further_metrics_are_counted_from_the_texts(make_record: Any) -> None:
    rows = made.label_rows(np.array([True, True, True, False]))
    for i, row in enumerate(rows):
        row |= {"target": "ab"[i // 2]} | {"prediction": "aabx"[i]}
    found = made.sample(make_record(), rows, "unweighted_accuracy")
    assert found.value == pytest.approx(75)
    assert found.under(np.array([[1.0, 1, 0, 1]]))[0] == pytest.approx(50)
    words = [{"id": "u", "fold": "all", "target": "AB CD", "prediction": "AB CX", "numerator": 1, "denominator": 2}]
    record = make_record().model_copy(update={"metric": "wer"})
    assert made.sample(record, words).value == 50
    assert made.sample(record, words, "cer").value == 20


def test_a_mean_of_folds_and_its_pooled_twin(make_record: Any) -> None:
    rows = made.label_rows(np.array([1, 1, 0, 0, 0, 0]), folds=(2, 4))
    record = make_record(task_spec={"aggregate": "mean_of_folds"})
    found = made.sample(record, rows)
    assert found.value == 50
    assert found.fold_sizes == (2, 4)
    assert made.sample(record, rows, "accuracy_pooled").value == pytest.approx(100 / 3)


def test_what_cannot_be_drawn_again_is_named(make_record: Any) -> None:
    record = make_record()
    with pytest.raises(RecordError, match="skill on ks, seed 0: mood cannot be computed from predictions"):
        sample_of(record, made.label_rows(np.ones(3)), "mood")
    with pytest.raises(RecordError, match="its predictions are empty"):
        sample_of(record, [], "accuracy")
    twice = made.label_rows(np.ones(3))
    twice[1]["id"] = twice[0]["id"]
    with pytest.raises(RecordError, match="an utterance is there twice in one fold"):
        sample_of(record, twice, "accuracy")
    wrong = made.label_rows(np.ones(3))
    wrong[0]["numerator"] = float("nan")
    with pytest.raises(RecordError, match="counts that are not finite"):
        sample_of(record, wrong, "accuracy")


def test_a_mean_of_folds_of_a_metric_without_counts(make_record: Any) -> None:
    rows = made.label_rows(np.ones(8), folds=(4, 4))
    for row, target, prediction in zip(rows, "aaababbb", "aaaxabbb", strict=True):
        row |= {"target": target, "prediction": prediction}
    record = make_record(task_spec={"aggregate": "mean_of_folds"})
    assert made.sample(record, rows, "unweighted_accuracy").value == pytest.approx((50 + 100) / 2)
    pooled = made.sample(record, rows, "unweighted_accuracy_pooled").value
    assert pooled == pytest.approx((100 + 75) / 2)


def test_speakers_as_units(make_record: Any) -> None:
    rows = made.spoken(made.label_rows(np.array([1, 0, 1, 1, 0])), np.array([0, 0, 1, 1, 1]))
    for row in rows[3:]:
        del row["speaker"]
    found = made.sample(make_record(), rows, by_speaker=True)
    assert [name for _, name in found.units] == ["s000", "s001", ""], "silence is nobody's, and stays together"
    assert found.value == 60
    assert found.under(np.array([[2.0, 0, 1]]))[0] == pytest.approx(100 * 3 / 6)
    assert not found.is_proportion


def test_whose_speakers_can_be_drawn() -> None:
    rows = made.label_rows(np.ones(4))
    assert not knows_speakers(rows, "accuracy")
    told = made.spoken(rows, np.arange(4))
    assert knows_speakers(told, "accuracy")
    assert knows_speakers(told[:1] + rows[1:], "accuracy_pooled")
    assert not knows_speakers(told, "eer"), "enrolments are drawn there"
    named = [row | {"target": row["speaker"]} for row in told]
    assert not knows_speakers(named, "accuracy"), "the speakers are the classes"


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
