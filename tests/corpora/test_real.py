"""The packaged layouts on real corpora: counts, labels, and what may never be shared between splits."""

from __future__ import annotations

import functools
from collections import Counter
from itertools import combinations
from pathlib import Path

import pytest

from skill_bench.base.catalog import layouts
from skill_bench.corpora.audio.audio import load_utterance
from skill_bench.corpora.data import TaskData
from skill_bench.corpora.described.assemble import assemble
from skill_bench.corpora.described.suite_toml import read_suite
from skill_bench.corpora.described.validate import validate
from skill_bench.corpora.listing import list_audio
from skill_bench.corpora.load import load_task_data

SIZES = {
    "ks": [(1170, 390, 390)],
    "sid": [(461, 100, 187)],
    "er": [(206, 52, 81), (230, 58, 51), (226, 56, 57), (210, 52, 77), (213, 53, 73)],
    "pr": [(580, 56, 112)],
    "asr": [(230, 16, 66)],
    "ic": [(198, 66, 66)],
    "sf": [(198, 66, 66)],
    "asv": [(580, 56, 112)],
    "sd": [(160, 24, 50)],
    "qbe": [(0, 48, 72)],
}
WORDS_SIZES = {"ks": (2800, 560, 1400), "sid": (2720, 680, 1360), "asv": (2800, 560, 1400), "qbe": (0, 60, 150)}
N_NOTES = {"sid": 2, "er": 2, "sf": 2, "sd": 2, "qbe": 2}  # conditions, order of slots, simulations


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of simulated recordings and of hashes, which all tests share; none changes what it loads."""
    return tmp_path_factory.mktemp("real")


@functools.cache
def load(corpora: Path, task: str, cache_dir: Path, limit: int | None = None) -> TaskData:
    return load_task_data("local", task, data_root=corpora, cache_dir=cache_dir, limit=limit)


@pytest.mark.parametrize("task", SIZES)
def test_sizes_and_audio(task: str, corpora: Path, cache_dir: Path) -> None:
    data = load(corpora, task, cache_dir)
    assert [tuple(len(part) for _, part in fold.splits()) for fold in data.folds] == SIZES[task]
    assert not data.synthetic
    assert len(data.notes) == N_NOTES.get(task, 1)
    assert "open-subsets.toml" in data.notes[0]
    utterance = data.folds[0].test[-1]
    assert len(load_utterance(utterance).waveform) / 16_000 == pytest.approx(utterance.seconds, abs=1e-3)


@pytest.mark.parametrize("task", WORDS_SIZES)
def test_sizes_of_words(task: str, corpora: Path, cache_dir: Path) -> None:
    found = read_suite(layouts()["dspspeech20"]).tasks
    assert set(found) == set(WORDS_SIZES)
    (fold,), _ = assemble(found[task], data_root=corpora, cache_dir=cache_dir, where=task)
    assert tuple(len(part) for _, part in fold.splits()) == WORDS_SIZES[task]
    validate((fold,), where=task, disjoint_speakers=task != "sid")
    speakers = {u.speaker for u in fold.test} & {u.speaker for u in fold.train}
    assert len(speakers) == (34 if task == "sid" else 0)
    if task == "asv":
        assert (sum(trial.same for trial in fold.trials), len(fold.trials)) == (10 * 40, 10 * 120)
    if task == "qbe":
        assert (len(fold.dev_queries), len(fold.queries)) == (40, 60)


@pytest.mark.parametrize("task", ["ks", "pr", "asr", "asv"])
def test_speakers_are_disjoint(task: str, corpora: Path, cache_dir: Path) -> None:
    (fold,) = load(corpora, task, cache_dir).folds
    speakers = [{u.speaker for u in part if u.speaker} for _, part in fold.splits()]
    assert all(speakers)
    assert not any(first & second for first, second in combinations(speakers, 2))


def test_labels(corpora: Path, cache_dir: Path) -> None:
    keywords = Counter(u.target for u in load(corpora, "ks", cache_dir).folds[0].test)
    assert len(keywords) == 12
    assert (keywords["_silence_"], keywords["_unknown_"], keywords["yes"]) == (30, 60, 30)
    emotions = {u.target for u in load(corpora, "er", cache_dir).utterances()}
    assert emotions == {"anger", "happiness", "neutral", "sadness"}
    phones = {phone for u in load(corpora, "pr", cache_dir).utterances() for phone in u.target.split()}
    assert len(phones) == 39
    assert all(phone.isalpha() for phone in phones)
    letters = {letter for u in load(corpora, "asr", cache_dir).utterances() for letter in u.target}
    assert letters == set(" 'ABCDEFGHIJKLMNOPQRSTUVWXYZ")


def test_intents_and_slots_of_the_same_orders(corpora: Path, cache_dir: Path) -> None:
    (intents,), (slots,) = load(corpora, "ic", cache_dir).folds, load(corpora, "sf", cache_dir).folds
    train, test = ([set(slot) for slot in zip(*(u.target.split("|") for u in part), strict=True)]
                   for part in (intents.train, intents.test))  # fmt: skip
    assert [len(slot) for slot in train] == [10, 4, 4]
    assert all(a <= b for a, b in zip(test, train, strict=True))
    order = {u.id: u.target for u in slots.test}["flac/5d1dbbd1-3c7a-4749-b09d-839c801f51e4.flac"]
    assert order == "B-roast DARK ROAST E-roast B-coffeeDrink COFFEE E-coffeeDrink"


def test_trials_are_of_one_sex(corpora: Path, cache_dir: Path) -> None:
    (fold,) = load(corpora, "asv", cache_dir).folds
    rows = [line.split("\t") for line in (corpora / "speechocean762/manifest.tsv").read_text().splitlines()]
    sex = {row[0]: row[rows[0].index("gender")] for row in rows}
    assert all(sex[trial.enrolment] == sex[trial.test] for trial in fold.trials)
    assert len({u.target for u in fold.test}) == 28
    assert sum(trial.same for trial in fold.trials) == 168


def test_both_real_conversations_are_tested_on(corpora: Path, cache_dir: Path) -> None:
    (fold,) = load(corpora, "sd", cache_dir).folds
    meeting, call = fold.test[-2:]
    assert {turn.speaker for turn in meeting.segments} == {"MEE071", "MEE073", "FEO072", "FEO070"}
    assert {turn.speaker for turn in call.segments} == {"speaker90", "speaker91"}
    assert max(turn.end_seconds for turn in (*meeting.segments, *call.segments)) == 30.0
    assert all(len({turn.speaker for turn in u.segments}) == 2 for u in (*fold.train, *fold.dev, *fold.test[:-2]))


def test_terms_are_looked_for_in_other_speakers_documents(corpora: Path, cache_dir: Path) -> None:
    (fold,) = load(corpora, "qbe", cache_dir).folds
    assert (len(fold.dev_queries), len(fold.queries)) == (20, 40)
    assert not {q.speaker for q in fold.queries} & {d.speaker for d in (*fold.dev, *fold.test)}
    assert not {d.speaker for d in fold.dev} & {d.speaker for d in fold.test}
    assert {q.target for q in fold.dev_queries} == {q.target for q in fold.queries}, "20 words, each once or twice"


def test_speakers_of_an_emotion_fold_are_in_its_test_part_alone(corpora: Path, cache_dir: Path) -> None:
    for fold in load(corpora, "er", cache_dir).folds:
        tested = {u.speaker for u in fold.test}
        assert len(tested) == 2
        assert not tested & {u.speaker for u in (*fold.train, *fold.dev)}


def test_a_limit_keeps_every_keyword(corpora: Path, cache_dir: Path) -> None:
    data = load(corpora, "ks", cache_dir, limit=24)
    for _, part in data.folds[0].splits():
        assert len(part) == 24
        assert len({u.target for u in part}) == 12


def test_what_may_be_trained_on_is_in_no_test_part(corpora: Path, cache_dir: Path) -> None:
    folders = ["arabic_speech_commands", "speechocean762", "librispeech", "speech_to_intent"]
    training = {u.path.resolve() for u in list_audio([corpora / name for name in folders])}
    assert len(training) == 1080 + 335 + 230 + 198
    for task in set(SIZES) - {"sd", "qbe"}:  # whose recordings are made from others of the same split
        tested = {u.path.resolve() for fold in load(corpora, task, cache_dir).folds for u in fold.test}
        assert not training & tested
