"""Limits and folds as properties: subsets are nested, fair and independent of order; folds partition.

Mixtures of two speakers and documents of several terms: what is in them, where, always the same.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from skill_bench.base.errors import ManifestError
from skill_bench.corpora.audio.audio import load_utterance
from skill_bench.corpora.data import Fold, TaskData, Utterance
from skill_bench.corpora.described.partition import cross_validation, folds_fingerprint, limited, limited_fold
from skill_bench.corpora.described.simulated import related, speech_stretches
from skill_bench.corpora.described.tables import Folds
from skill_bench.corpora.load import load_task_data

TARGETS = "abcde"
RATE_HZ = 16_000
WORDS = ("yes", "no", "up", "down")


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


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Six speakers of four words each: a tone of the speaker's own pitch between silences."""
    lines = ["path\tspeaker\tsplit\tword\tsex\n"]
    rng = np.random.default_rng(0)
    for number, split in enumerate(("train", "train", "dev", "dev", "test", "test")):
        for word in WORDS:
            time = np.arange(int(0.6 * RATE_HZ)) / RATE_HZ
            tone = 0.3 * np.sin(2 * np.pi * (200 + 150 * number) * time)
            quiet = 1e-4 * rng.standard_normal(RATE_HZ // 5)
            name = f"s{number}-{word}.wav"
            soundfile.write(tmp_path / name, np.concatenate([quiet, tone, quiet]), RATE_HZ)
            lines.append(f"{name}\ts{number}\t{split}\t{word}\t{'fm'[number % 2]}\n")
    (tmp_path / "manifest.tsv").write_text("".join(lines))
    (tmp_path / "suite.toml").write_text(
        "[tasks.sd]\nmanifest = 'manifest.tsv'\ntarget = 'speaker'\n"
        "mixtures = { seed = 1, train = 4, dev = 2, test = 3, max_seconds = 2.0 }\n"
        "[tasks.qbe]\nmanifest = 'manifest.tsv'\ntarget = 'word'\ntarget_kind = 'text'\n"
        "documents = { terms = 2, dev = 6, test = 6 }\n"
        "queries = { dev = ['train'], test = ['train'], n_dev = 4, n_test = 4 }\n"
    )
    return tmp_path


def load(root: Path, task: str, cache: str = "cache", limit: int | None = None) -> TaskData:
    return load_task_data("local", task, data_root=root, cache_dir=root / cache, limit=limit)


def test_speech_is_found_between_silences() -> None:
    time = np.arange(RATE_HZ) / RATE_HZ
    tone, quiet = np.sin(2 * np.pi * 300 * time).astype(np.float32), np.zeros(RATE_HZ, dtype=np.float32)
    found = speech_stretches(np.concatenate([quiet, tone, quiet[:2000], tone, quiet, tone[:320]]))
    assert len(found) == 1, "a pause of 125 ms is no pause, and 20 ms of sound is no speech"
    assert found[0] == pytest.approx((1.0, 3.14), abs=0.03)
    assert speech_stretches(np.zeros(10, dtype=np.float32)) == []


def test_two_speakers_stand_where_the_reference_says(root: Path) -> None:
    data = load(root, "sd")
    assert {name: len(part) for name, part in data.folds[0].splits()} == {"train": 4, "dev": 2, "test": 3}
    assert data.notes == ("two-speaker mixtures simulated from manifest.tsv (seed 1)",)
    for name, part in data.folds[0].splits():
        for mixture in part:
            speakers = {turn.speaker for turn in mixture.segments}
            assert len(speakers) == 2
            assert all(("train", "dev", "test")[int(speaker[1]) // 2] == name for speaker in speakers)
            wave = load_utterance(mixture).waveform.numpy()
            assert len(wave) / RATE_HZ == pytest.approx(mixture.seconds)
            for turn in mixture.segments:
                assert turn.end_seconds - turn.start_seconds == pytest.approx(0.6, abs=0.05)
                heard = wave[int(turn.start_seconds * RATE_HZ) : int(turn.end_seconds * RATE_HZ)]
                pitch = np.fft.rfftfreq(len(heard), 1 / RATE_HZ)[np.abs(np.fft.rfft(heard)) > 0.25 * len(heard) * 0.05]
                expected = 200 + 150 * int(turn.speaker[1])
                assert np.abs(pitch - expected).min() < 5


def test_simulations_are_the_same_in_every_cache_and_made_again_when_damaged(root: Path) -> None:
    for task in ("sd", "qbe"):
        first, second = load(root, task), load(root, task, "other")
        assert first.fingerprint == second.fingerprint
        damaged = first.folds[0].test[0].path
        content = damaged.read_bytes()
        damaged.write_bytes(content[:-50])
        load(root, task)
        assert damaged.read_bytes() == content


def test_changed_sources_make_other_simulations(root: Path) -> None:
    before = load(root, "sd").folds[0].train[0].path.parent
    samples, _ = soundfile.read(root / "s0-yes.wav")
    soundfile.write(root / "s0-yes.wav", samples[::-1], RATE_HZ)
    assert load(root, "sd").folds[0].train[0].path.parent != before


def test_documents_hold_the_terms_that_they_are_said_to_hold(root: Path) -> None:
    data = load(root, "qbe")
    (fold,) = data.folds
    assert fold.train == ()
    assert (len(fold.dev), len(fold.test)) == (6, 6)
    assert {q.speaker for q in (*fold.dev_queries, *fold.queries)} <= {"s0", "s1"}
    assert not {q.id for q in fold.dev_queries} & {q.id for q in fold.queries}
    assert {u.id for u in data.utterances()} >= {q.id for q in fold.queries}
    for documents, queries in ((fold.dev, fold.dev_queries), (fold.test, fold.queries)):
        held = [set(d.target.split()) for d in documents]
        assert set.union(*held) == {q.id for q in queries}
        for document in documents:
            assert len(speech_stretches(load_utterance(document).waveform.numpy())) in (1, 2)
    for query in fold.queries:
        wave = load_utterance(query).waveform
        assert len(wave) / RATE_HZ == pytest.approx(0.7, abs=0.05), "cut to its speech and a margin"


def test_a_limit_leaves_what_can_still_be_found(root: Path) -> None:
    (fold,) = load(root, "qbe", limit=2).folds
    assert (len(fold.test), len(fold.queries)) <= (2, 2)
    assert {q for d in fold.test for q in d.target.split()} == {q.id for q in fold.queries}


def test_one_speaker_makes_no_mixture_and_no_mixture_crosses_splits(root: Path) -> None:
    manifest = root / "manifest.tsv"
    text = manifest.read_text()
    manifest.write_text(text.replace("\ts3\t", "\ts2\t"))
    with pytest.raises(ManifestError, match="dev has fewer than two speakers; mixtures need two"):
        load(root, "sd")
    manifest.write_text(text.replace("\ts3\t", "\ts4\t"))
    with pytest.raises(Exception, match="'s4' heard in dev and in test, which must share no speaker"):
        load(root, "sd")


def test_queries_that_nothing_holds_are_dropped_or_refused() -> None:
    def text(id: str, target: str) -> Utterance:
        return Utterance(id=id, path=Path("x"), target=target, speaker=None, seconds=None, source="m:1")

    documents = (text("d1", "SHE SAW TWO SHIPS"), text("d2", "NOBODY"))
    queries = (text("q1", "TWO SHIPS"), text("q2", "HIP"), text("q3", "NOBODY"), text("q4", "SAW SHIPS"))
    found, kept = related(documents, queries, where="here")
    assert [d.target for d in found] == ["q1", "q3"]
    assert [q.id for q in kept] == ["q1", "q3"]
    with pytest.raises(ManifestError, match="here: no document contains any of the 1 queries"):
        related(documents, queries[1:2], where="here")
    with pytest.raises(ManifestError, match="the id 'q 1' of a query holds a blank"):
        related(documents, (text("q 1", "TWO"),), where="here")
