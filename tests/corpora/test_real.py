"""The packaged layout on real corpora: counts, labels, and what may never be shared between splits."""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from pathlib import Path

import pytest

from skill_bench.corpora.audio import load_utterance
from skill_bench.corpora.data import TaskData
from skill_bench.corpora.listing import list_audio
from skill_bench.corpora.suite import load_task_data

SIZES = {
    "ks": [(1170, 390, 390)],
    "sid": [(461, 100, 187)],
    "er": [(206, 52, 81), (230, 58, 51), (226, 56, 57), (210, 52, 77), (213, 53, 73)],
    "pr": [(580, 56, 112)],
    "asr": [(230, 16, 66)],
}


def load(corpora: Path, task: str, tmp_path: Path, limit: int | None = None) -> TaskData:
    return load_task_data("local", task, data_root=corpora, cache_dir=tmp_path, limit=limit)


@pytest.mark.parametrize("task", SIZES)
def test_sizes_and_audio(task: str, corpora: Path, tmp_path: Path) -> None:
    data = load(corpora, task, tmp_path)
    assert [tuple(len(part) for _, part in fold.splits()) for fold in data.folds] == SIZES[task]
    assert not data.synthetic
    assert len(data.notes) == 1
    assert "open-subsets.toml" in data.notes[0]
    utterance = data.folds[0].test[-1]
    assert len(load_utterance(utterance).waveform) / 16_000 == pytest.approx(utterance.seconds, abs=1e-3)


@pytest.mark.parametrize("task", ["ks", "pr", "asr"])
def test_speakers_are_disjoint(task: str, corpora: Path, tmp_path: Path) -> None:
    (fold,) = load(corpora, task, tmp_path).folds
    speakers = [{u.speaker for u in part if u.speaker} for _, part in fold.splits()]
    assert all(speakers)
    assert not any(first & second for first, second in combinations(speakers, 2))


def test_labels(corpora: Path, tmp_path: Path) -> None:
    keywords = Counter(u.target for u in load(corpora, "ks", tmp_path).folds[0].test)
    assert len(keywords) == 12
    assert (keywords["_silence_"], keywords["_unknown_"], keywords["yes"]) == (30, 60, 30)
    emotions = {u.target for u in load(corpora, "er", tmp_path).utterances()}
    assert emotions == {"anger", "happiness", "neutral", "sadness"}
    phones = {phone for u in load(corpora, "pr", tmp_path).utterances() for phone in u.target.split()}
    assert len(phones) == 39
    assert all(phone.isalpha() for phone in phones)
    letters = {letter for u in load(corpora, "asr", tmp_path).utterances() for letter in u.target}
    assert letters == set(" 'ABCDEFGHIJKLMNOPQRSTUVWXYZ")


def test_speakers_of_an_emotion_fold_are_in_its_test_part_alone(corpora: Path, tmp_path: Path) -> None:
    for fold in load(corpora, "er", tmp_path).folds:
        tested = {u.speaker for u in fold.test}
        assert len(tested) == 2
        assert not tested & {u.speaker for u in (*fold.train, *fold.dev)}


def test_a_limit_keeps_every_keyword(corpora: Path, tmp_path: Path) -> None:
    data = load(corpora, "ks", tmp_path, limit=24)
    for _, part in data.folds[0].splits():
        assert len(part) == 24
        assert len({u.target for u in part}) == 12


def test_what_may_be_trained_on_is_in_no_test_part(corpora: Path, tmp_path: Path) -> None:
    folders = ["arabic_speech_commands", "speechocean762", "librispeech", "speech_to_intent"]
    training = {u.path.resolve() for u in list_audio([corpora / name for name in folders])}
    assert len(training) == 1080 + 335 + 230 + 198
    for task in SIZES:
        tested = {u.path.resolve() for fold in load(corpora, task, tmp_path).folds for u in fold.test if u.speaker}
        assert not training & tested
