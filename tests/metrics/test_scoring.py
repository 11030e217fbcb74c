"""Metrics of the later tasks by hand, and rows to metrics.

How far a dev metric moves when its items are drawn anew: what a race may not decide by.
"""

from __future__ import annotations

import itertools
import math

import jiwer
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skill_bench.metrics.diarization import activity, diarization_errors, segment_errors, segments_of
from skill_bench.metrics.edits import character_error_rate, edits, word_error_rate
from skill_bench.metrics.ratio import Ratio, accuracy, pooled, standard_error_percent, unweighted_accuracy
from skill_bench.metrics.scales import SCALES
from skill_bench.metrics.scoring import FURTHER, SCORERS, score, with_counts
from skill_bench.metrics.search import BETA, maximum_term_weighted_value
from skill_bench.metrics.slots import slot_type_f1, slot_value_edits, slots
from skill_bench.metrics.verification import equal_error_noise, equal_error_rate

words = st.lists(st.sampled_from(["A", "B", "AB", "ABBA", "C"]), min_size=1, max_size=8)
corpus = st.lists(st.tuples(words, st.one_of(words, st.just([]))), min_size=1, max_size=6)


def test_unweighted_accuracy_is_the_mean_recall() -> None:
    targets, predictions = ["a", "a", "a", "b"], ["a", "a", "c", "a"]
    assert unweighted_accuracy(targets=targets, predictions=predictions) == pytest.approx((200 / 3 + 0) / 2)
    assert unweighted_accuracy(targets=[], predictions=[]) is None


def test_equal_error_rate_by_hand() -> None:
    same = [True, True, False, False]
    assert equal_error_rate(same=same, scores=[4, 3, 2, 1]) == 0
    assert equal_error_rate(same=same, scores=[1, 2, 3, 4]) == 100
    assert equal_error_rate(same=same, scores=[4, 2, 3, 1]) == 50
    assert equal_error_rate(same=same, scores=[1, 1, 1, 1]) == 50, "equal scores say nothing"
    assert equal_error_rate(same=[True, True], scores=[1, 2]) is None
    # Accepting from the top: (fa, fr) = (0, 2/3), (0, 1/3), (1/2, 1/3), ...: the lines cross at 1/3.
    found = equal_error_rate(same=[True, True, False, True, False], scores=[5, 4, 3, 2, 1])
    assert found == pytest.approx(100 / 3)
    with pytest.raises(ValueError, match="finite"):
        equal_error_rate(same=same, scores=[1, 2, 3, float("nan")])


trials = st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=2, max_size=30).filter(
    lambda found: len({same for same, _ in found}) == 2
)


@given(trials)
def test_equal_error_rate_keeps_under_monotone_scores_and_mirrors(pairs: list[tuple[bool, int]]) -> None:
    same, scores = [s for s, _ in pairs], [float(x) for _, x in pairs]
    found = equal_error_rate(same=same, scores=scores)
    assert found is not None
    assert 0 <= found <= 100
    assert equal_error_rate(same=same, scores=[x**3 - 7 for x in scores]) == found
    mirrored = equal_error_rate(same=[not s for s in same], scores=[-x for x in scores])
    assert mirrored == pytest.approx(found)


def test_term_weighted_value_by_hand() -> None:
    """Two queries, four documents each; beta = 1/100 * (1/0.0008 - 1) = 12.49."""
    queries = ["a"] * 4 + ["b"] * 4
    present = [True, True, False, False, True, False, False, False]
    # Threshold 7: both of a, none of b: P_miss = (0 + 1) / 2, no alarm: 0.5.
    # Threshold 6: also an alarm of b: 0.5 - 12.49 * (1/3) / 2 < 0. Threshold 5 has everything true, and that alarm.
    scores = [9.0, 7, 1, 1, 5, 6, 1, 1]
    assert maximum_term_weighted_value(queries=queries, present=present, scores=scores) == 0.5
    assert pytest.approx(12.49) == BETA
    cheap = maximum_term_weighted_value(queries=queries, present=present, scores=scores, beta=1.0)
    assert cheap == pytest.approx(1 - 1 * (1 / 3) / 2)
    perfect = [9.0, 7, 1, 1, 5, 1, 1, 1]
    assert maximum_term_weighted_value(queries=queries, present=present, scores=perfect) == 1
    hopeless = [-x for x in scores]
    assert maximum_term_weighted_value(queries=queries, present=present, scores=hopeless) == 0
    assert maximum_term_weighted_value(queries=["a"], present=[False], scores=[1.0]) is None


def test_queries_that_occur_nowhere_do_not_count() -> None:
    base = {"queries": ["a", "a"], "present": [True, False], "scores": [2.0, 1.0]}
    more = {"queries": ["a", "a", "z"], "present": [True, False, False], "scores": [2.0, 1.0, 3.0]}
    assert maximum_term_weighted_value(**base) == maximum_term_weighted_value(**more) == 1  # type: ignore[arg-type]


def test_slots_by_hand() -> None:
    text = "PLAY B-artist THE BEATLES E-artist IN B-city_name  PARIS E-city_name NOW"
    assert slots(text) == {"artist": ["THE BEATLES"], "city_name": ["PARIS"]}
    assert slots("B-city PARIS") == {}
    missed = "PLAY B-artist THE BEETLES E-artist IN PARIS"
    assert slot_type_f1(target=text, prediction=missed).numerator == pytest.approx(2 / 3)
    assert slot_value_edits(target=text, prediction=missed) == Ratio(numerator=1 + 5, denominator=11 + 5)
    assert slot_type_f1(target="A", prediction="B") == Ratio(numerator=1, denominator=1)
    assert slot_type_f1(target="A", prediction=text).numerator == 0
    assert slot_value_edits(target="A", prediction=text) == Ratio(numerator=0, denominator=0)


def test_repeated_slots_take_the_nearest_value() -> None:
    target = "B-time TEN E-time AND B-time TWO E-time"
    prediction = "B-time TWO E-time"
    assert slot_value_edits(target=target, prediction=prediction) == Ratio(numerator=2 + 0, denominator=6)
    assert slot_value_edits(target="B-x A:B;C E-x", prediction="B-x A:B;C E-x") == Ratio(numerator=0, denominator=5)


frames = st.integers(1, 12).flatmap(
    lambda n: st.tuples(
        *(st.lists(st.lists(st.booleans(), min_size=k, max_size=k), min_size=n, max_size=n) for k in (2, 3))
    )
)


@given(frames)
def test_the_mapping_of_speakers_is_the_best(pair: tuple[list[list[bool]], list[list[bool]]]) -> None:
    reference, found = (np.array(one) for one in pair)
    errors = diarization_errors(reference=reference, found=found)
    padded = np.pad(reference, ((0, 0), (0, 1)))
    wanted, given_ = padded.sum(1), found.sum(1)
    totals = []
    for order in itertools.permutations(range(3)):
        agreed = (padded & found[:, order]).sum(1)
        totals.append(int((np.maximum(wanted, given_) - agreed).sum()))
    assert errors.rate == Ratio(numerator=min(totals), denominator=int(wanted.sum()))


@given(frames)
def test_segments_and_activity_are_inverse(pair: tuple[list[list[bool]], list[list[bool]]]) -> None:
    active = np.array(pair[1])
    again = activity(segments_of(active), n_frames=len(active))
    n = again.shape[1]
    assert (again == active[:, :n]).all()
    assert not active[:, n:].any()


@given(frames)
def test_segments_give_the_counts_of_their_frames(pair: tuple[list[list[bool]], list[list[bool]]]) -> None:
    reference, found = (np.array(one) for one in pair)
    of_segments = segment_errors(reference=segments_of(reference), found=segments_of(found))
    assert of_segments == diarization_errors(reference=reference, found=found)


def test_a_reference_between_frames_is_not_rounded() -> None:
    """Spoken from 1.25 to 7.5 frames, found in frames 1 to 6, with 3 that were spoken by nobody afterwards."""
    errors = segment_errors(reference=[(0, 1.25, 7.5)], found=[(0, 1, 7), (0, 8, 11)])
    assert (errors.missed, errors.false_alarm, errors.confused, errors.speech) == (0.5, 3.25, 0, 6.25)


def test_diarization_by_hand() -> None:
    """Speaker 0 in frames 0-5, speaker 1 in 4-7; found: one late by a frame, the other alone and one frame too long."""
    row = {
        "id": "m", "fold": "f", "n_frames": 10, "frame_seconds": 0.02,
        "target": [[0, 0, 6], [1, 4, 8]], "prediction": [[1, 1, 6], [0, 6, 9]],
    }  # fmt: skip
    counted = with_counts("der", row)
    # Frame 0 missed, 4 and 5 lack a speaker, 8 is an alarm.
    assert (counted["missed"], counted["false_alarm"], counted["confused"]) == (3, 1, 0)
    assert (counted["numerator"], counted["denominator"]) == (4, 10)
    metrics, _ = score("der", [counted])
    assert metrics["der"].value == 40
    assert not metrics["der"].higher_is_better


def _label(fold: str, target: str, prediction: str) -> dict[str, str]:
    return {"id": f"{fold}{target}{prediction}", "fold": fold, "target": target, "prediction": prediction}


def test_folds_are_averaged_without_weights() -> None:
    rows = [_label("1", "a", "a"), *(_label("2", "a", "b") for _ in range(9))]
    metrics, folds = score("accuracy", rows, further=["unweighted_accuracy"], mean_of_folds=True)
    assert metrics["accuracy"].value == 50
    assert metrics["accuracy"].numerator is None
    assert metrics["accuracy_pooled"].value == 10
    assert metrics["unweighted_accuracy"].value == 50
    assert folds["2"]["accuracy"].denominator == 9
    together, _ = score("accuracy", rows)
    assert together["accuracy"].value == 10
    assert set(together) == {"accuracy"}


def test_a_fold_without_anything_to_score_leaves_no_mean() -> None:
    rows = [_label("1", "A", "A"), _label("2", "", "B")]
    metrics, _ = score("wer", rows, mean_of_folds=True)
    assert metrics["wer"].value is None
    assert metrics["wer"].reason == "a fold has nothing to score"


def test_scores_of_pairs_have_no_counts() -> None:
    rows = [
        with_counts("eer", {"id": str(i), "fold": "f", "target": target, "score": value})
        for i, (target, value) in enumerate([("same", 2.0), ("different", 1.0), ("different", 3.0)])
    ]
    assert rows[0]["numerator"] is None
    assert score("eer", rows)[0]["eer"].value == pytest.approx(50)
    pairs = [
        {"id": str(i), "fold": "f", "query": "q", "target": target, "score": value}
        for i, (target, value) in enumerate([("present", 2.0), ("absent", 1.0)])
    ]
    found = score("mtwv", pairs)[0]["mtwv"]
    assert (found.value, found.unit) == (100, "x100")


def test_every_metric_is_among_its_own_scorers() -> None:
    for name, scorers in SCORERS.items():
        assert next(iter(scorers)) == name
        assert all((scorer.share is None) != (scorer.value is None) for scorer in scorers.values())


def test_every_scorer_has_a_scale_and_every_scale_a_scorer() -> None:
    named = {name: scorer for scorers in (*SCORERS.values(), FURTHER) for name, scorer in scorers.items()}
    assert set(named) == set(SCALES)
    assert all(name == scorer.name for name, scorer in named.items())
    higher = {name for name, scorer in named.items() if scorer.higher_is_better}
    assert higher == {"accuracy", "unweighted_accuracy", "f1", "mtwv"}
    assert {name for name, scorer in named.items() if scorer.metric(1.0).unit != "percent"} == {"mtwv"}


def _texts(pairs: list[tuple[list[str], list[str]]]) -> tuple[list[str], list[str]]:
    return [" ".join(target) for target, _ in pairs], [" ".join(prediction) for _, prediction in pairs]


@given(corpus)
def test_word_error_rate_is_jiwers(pairs: list[tuple[list[str], list[str]]]) -> None:
    targets, predictions = _texts(pairs)
    found = word_error_rate(targets=targets, predictions=predictions)
    expected = jiwer.process_words(targets, predictions)
    assert found.numerator == expected.substitutions + expected.deletions + expected.insertions
    assert found.denominator == expected.substitutions + expected.deletions + expected.hits


@given(corpus)
def test_character_error_rate_is_jiwers(pairs: list[tuple[list[str], list[str]]]) -> None:
    targets, predictions = _texts(pairs)
    found = character_error_rate(targets=targets, predictions=predictions)
    expected = jiwer.process_characters(targets, predictions)
    assert found.numerator == expected.substitutions + expected.deletions + expected.insertions
    assert found.denominator == expected.substitutions + expected.deletions + expected.hits


@given(words, words)
def test_edits_identities(a: list[str], b: list[str]) -> None:
    distance = edits(target=a, prediction=b).numerator
    assert edits(target=a, prediction=a) == Ratio(numerator=0, denominator=len(a))
    assert edits(target=a, prediction=[]) == Ratio(numerator=len(a), denominator=len(a))
    assert distance == edits(target=b, prediction=a).numerator
    assert abs(len(a) - len(b)) <= distance <= max(len(a), len(b))
    assert (distance == 0) == (a == b)


@given(words, words, words)
def test_edits_obey_the_triangle_inequality(a: list[str], b: list[str], c: list[str]) -> None:
    def distance(x: list[str], y: list[str]) -> float:
        return edits(target=x, prediction=y).numerator

    assert distance(a, c) <= distance(a, b) + distance(b, c)


@given(corpus, corpus)
def test_joined_corpora_add_their_counts(
    one: list[tuple[list[str], list[str]]], two: list[tuple[list[str], list[str]]]
) -> None:
    def rate(pairs: list[tuple[list[str], list[str]]]) -> Ratio:
        targets, predictions = _texts(pairs)
        return word_error_rate(targets=targets, predictions=predictions)

    assert pooled([rate(one), rate(two)]) == rate(one + two)


def test_corpus_rate_is_not_the_mean_of_rates() -> None:
    rate = word_error_rate(targets=["A", "A B C"], predictions=["B", "A B C"])
    assert rate == Ratio(numerator=1, denominator=4)
    assert rate.percent == 25.0


def test_more_insertions_than_words_exceed_100_percent() -> None:
    assert word_error_rate(targets=["A"], predictions=["B C D"]).percent == 300.0


def test_an_empty_target_counts_insertions_only() -> None:
    rate = word_error_rate(targets=["", "A"], predictions=["X Y", "A"])
    assert rate == Ratio(numerator=2, denominator=1)


def test_accuracy_counts() -> None:
    assert accuracy(targets=["a", "b", "c"], predictions=["a", "b", "b"]) == Ratio(numerator=2, denominator=3)


@pytest.mark.parametrize("score", [accuracy, word_error_rate, character_error_rate])
def test_different_lengths_are_refused(score: object) -> None:
    with pytest.raises(ValueError, match="zip"):
        score(targets=["a", "b"], predictions=["a"])  # type: ignore[operator]


def test_nothing_counted_has_no_value() -> None:
    assert accuracy(targets=[], predictions=[]).percent is None
    assert word_error_rate(targets=[], predictions=[]).percent is None


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
