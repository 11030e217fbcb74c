"""Mixtures of two speakers and documents of several terms: what is in them, where, always the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from skill_bench.base.errors import ManifestError
from skill_bench.corpora.audio.activity import speech_stretches
from skill_bench.corpora.audio.audio import load_utterance
from skill_bench.corpora.data import TaskData, Utterance
from skill_bench.corpora.described.search import related
from skill_bench.corpora.load import load_task_data

RATE_HZ = 16_000
WORDS = ("yes", "no", "up", "down")


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
