"""Metrics under weights are the metrics themselves; a weight of 2 is a row that is there twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import made_samples as made
import numpy as np
import pytest

from skill_bench.base.errors import RecordError
from skill_bench.metrics.scoring import score
from skill_bench.report.statistics.sample import knows_speakers, mean_of, sample_of
from skill_bench.report.statistics.speakers import speakers_of


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
