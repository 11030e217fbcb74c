"""Limits and folds as properties: subsets are nested, fair and independent of order; folds partition."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skill_bench.corpora.data import Fold, Utterance
from skill_bench.corpora.described.partition import cross_validation, folds_fingerprint, limited, limited_fold
from skill_bench.corpora.described.tables import Folds

TARGETS = "abcde"


def make(targets: str) -> list[Utterance]:
    return [
        Utterance(id=f"u{i}", path=Path(f"u{i}.wav"), target=t, speaker=None, seconds=None, source=f"m:{i + 2}")
        for i, t in enumerate(targets)
    ]


utterance_lists = st.text(alphabet=TARGETS, min_size=1, max_size=40).map(make)


@settings(deadline=None)
@given(utterance_lists, st.integers(1, 45), st.booleans())
def test_a_limit_gives_that_many_in_the_given_order(utterances: list[Utterance], limit: int, by_target: bool) -> None:
    chosen = limited(utterances, limit, by_target=by_target)
    assert len(chosen) == min(limit, len(utterances))
    kept = {u.id for u in chosen}
    assert chosen == tuple(u for u in utterances if u.id in kept)


@settings(deadline=None)
@given(utterance_lists, st.integers(1, 45), st.booleans())
def test_a_smaller_limit_gives_a_subset(utterances: list[Utterance], limit: int, by_target: bool) -> None:
    larger = {u.id for u in limited(utterances, limit + 1, by_target=by_target)}
    assert {u.id for u in limited(utterances, limit, by_target=by_target)} <= larger


@settings(deadline=None)
@given(utterance_lists, st.integers(1, 45), st.booleans(), st.randoms(use_true_random=False))
def test_the_order_of_the_list_does_not_matter(utterances, limit, by_target, random) -> None:  # type: ignore[no-untyped-def]
    shuffled = random.sample(utterances, len(utterances))
    first, second = (limited(u, limit, by_target=by_target) for u in (utterances, shuffled))
    assert {u.id for u in first} == {u.id for u in second}


@settings(deadline=None)
@given(utterance_lists, st.integers(1, 45))
def test_every_target_comes_once_before_any_comes_twice(utterances: list[Utterance], limit: int) -> None:
    counts = Counter(u.target for u in limited(utterances, limit, by_target=True))
    n_targets = len({u.target for u in utterances})
    assert len(counts) == min(limit, n_targets)
    if limit <= n_targets:
        assert set(counts.values()) == {1}


def test_beyond_that_shares_are_kept() -> None:
    chosen = limited(make("a" * 100 + "b" * 50 + "c" * 50), 40, by_target=True)
    assert Counter(u.target for u in chosen) == {"a": 20, "b": 10, "c": 10}


def test_splits_with_the_same_targets_keep_the_same_ones_under_a_small_limit() -> None:
    train, test = make("abcde" * 4), make("edcba" * 2)
    assert {u.target for u in limited(train, 3, by_target=True)} == {u.target for u in limited(test, 3, by_target=True)}


@settings(deadline=None)
@given(
    st.lists(st.sampled_from("xyz"), min_size=6, max_size=40).filter(lambda v: len(set(v)) > 1),
    st.floats(0.05, 0.6),
    st.integers(0, 5),
)
def test_folds_partition_and_never_share_the_test_value(values: list[str], dev_fraction: float, seed: int) -> None:
    utterances = make("a" * len(values))
    value = {u.id: v for u, v in zip(utterances, values, strict=True)}
    spec = Folds(column="fold", dev_fraction=dev_fraction, seed=seed)
    folds = cross_validation(utterances, lambda u: value[u.id], spec)
    assert [fold.name for fold in folds] == sorted(set(values))
    tested = [u.id for fold in folds for u in fold.test]
    assert sorted(tested) == sorted(u.id for u in utterances)
    for fold in folds:
        ids = [u.id for _, part in fold.splits() for u in part]
        assert sorted(ids) == sorted(u.id for u in utterances)
        assert {value[u.id] for u in fold.test} == {fold.name}
        assert fold.name not in {value[u.id] for u in (*fold.train, *fold.dev)}
        n_rest = len(utterances) - len(fold.test)
        assert len(fold.dev) == (max(1, round(dev_fraction * n_rest)) if n_rest > 1 else 0)


def test_another_seed_draws_another_dev_part() -> None:
    utterances = make("a" * 60)
    drawn = [
        {
            u.id
            for u in cross_validation(utterances, lambda u: str(int(u.id[1:]) % 3), Folds(column="f", seed=seed))[0].dev
        }
        for seed in (0, 0, 1)
    ]
    assert drawn[0] == drawn[1] != drawn[2]


def test_a_small_limit_prefers_targets_that_every_part_has() -> None:
    """Most speakers are heard in training alone; a limit must leave something to choose and to test on."""

    def part(name: str, targets: str) -> tuple[Utterance, ...]:
        return tuple(
            Utterance(id=f"{name}{t}{n}", path=Path("x"), target=t, speaker=None, seconds=None, source="m:2")
            for t in targets
            for n in range(2)
        )

    fold = Fold(name="all", train=part("a", "abcdefghijklmnop"), dev=part("b", "amp"), test=part("c", "map"))
    small = limited_fold(fold, 3, closed=True)
    assert [{u.target for u in part} for _, part in small.splits()] == [{"a", "m", "p"}] * 3


@pytest.fixture
def fold(tmp_path: Path) -> Fold:
    parts = []
    for name in ("train", "dev", "test"):
        path = tmp_path / f"{name}.wav"
        path.write_bytes(name.encode())
        parts.append((Utterance(id=name, path=path, target="t", speaker=None, seconds=None, source="m:2"),))
    return Fold(name="all", train=parts[0], dev=parts[1], test=parts[2])


def test_the_fingerprint_sees_labels_splits_segments_and_contents_but_not_places(fold: Fold, tmp_path: Path) -> None:
    from dataclasses import replace

    def of(*folds: Fold) -> str:
        return folds_fingerprint(folds, cache_dir=tmp_path / "cache")

    first = of(fold)
    (one,), (two,) = fold.train, fold.dev
    changed = [
        replace(fold, train=(replace(one, target="other"),)),
        replace(fold, train=(two,), dev=(one,)),
        replace(fold, train=(replace(one, start_frame=0, n_frames=5),)),
        replace(fold, train=()),
    ]
    assert len({first, *(of(other) for other in changed)}) == 5
    moved = tmp_path / "elsewhere.wav"
    moved.write_bytes(one.path.read_bytes())
    assert of(replace(fold, train=(replace(one, path=moved, speaker="s", source="n:9"),))) == first
    moved.write_bytes(b"other")  # as many bytes as before
    assert of(replace(fold, train=(replace(one, path=moved),))) != first
