"""How far a dev metric moves when its items are drawn anew: what a race may not decide by."""

from __future__ import annotations

import math

import jiwer
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skill_bench.metrics.edits import character_error_rate, edits, word_error_rate
from skill_bench.metrics.ratio import Ratio, accuracy, pooled, standard_error_percent
from skill_bench.metrics.verification import equal_error_noise

words = st.lists(st.sampled_from(["A", "B", "AB", "ABBA", "C"]), min_size=1, max_size=8)
corpus = st.lists(st.tuples(words, st.one_of(words, st.just([]))), min_size=1, max_size=6)


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
