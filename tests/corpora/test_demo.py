"""The synthesised demo suite: always the same, repaired when damaged, without leaks between its splits."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import pytest

from skill_bench.corpora.audio.audio import load_utterance
from skill_bench.corpora.data import TaskData
from skill_bench.corpora.load import load_task_data
from skill_bench.corpora.synthetic import demo
from skill_bench.corpora.synthetic.demo_plan import Item, plan
from skill_bench.corpora.synthetic.rendered import checksums

TASKS = ("ks", "sid", "er", "pr", "asr", "ic", "sf", "asv", "sd", "qbe")


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory, with_demo: Callable[[Path], Path]) -> Path:
    return with_demo(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def data(cache_dir: Path) -> dict[str, TaskData]:
    return {task: load_task_data("demo", task, cache_dir=cache_dir) for task in TASKS}


def small_plan() -> list[Item]:
    # Breathy voices among them: their noise is what differs from run to run unless it is seeded.
    return [item for item in plan() if item.part == "speakers" and item.line.file.endswith("train-f5-00.flac")] + [
        item for item in plan() if item.part == "speakers" and "dev-f" in item.line.file
    ]


def test_everything_is_labelled_synthetic(data: dict[str, TaskData]) -> None:
    for task in data.values():
        assert task.synthetic
        assert task.notes[0].startswith("synthetic: all speech was made by espeak-ng")


def test_sizes(data: dict[str, TaskData]) -> None:
    sizes = {task: [[len(part) for _, part in fold.splits()] for fold in d.folds] for task, d in data.items()}
    assert sizes == {
        "ks": [[308, 54, 182]],
        "sid": [[60, 24, 60]],
        "er": [[64, 16, 20]] * 5,
        "pr": [[120, 16, 49]],
        "asr": [[120, 16, 49]],
        "ic": [[120, 20, 56]],
        "sf": [[120, 20, 56]],
        "asv": [[120, 16, 49]],
        "sd": [[60, 12, 24]],
        "qbe": [[0, 48, 49]],
    }
    heard = {u.path: u.seconds or 0 for d in data.values() for u in d.utterances() if u.start_frame is None}
    assert 25 * 60 < sum(heard.values()) < 30 * 60


def test_no_voice_of_the_test_part_is_trained_on(data: dict[str, TaskData]) -> None:
    for task in ("ks", "pr", "asr", "er", "ic", "sf", "asv"):
        for fold in data[task].folds:
            train, test = ({u.speaker for u in part if u.speaker} for part in (fold.train, fold.test))
            assert train
            assert test
            assert not train & test


def test_every_label_is_in_every_split(data: dict[str, TaskData]) -> None:
    for task, n_labels in (("ks", 12), ("sid", 12), ("er", 4)):
        for fold in data[task].folds:
            assert [len({u.target for u in part}) for _, part in fold.splits()] == [n_labels] * 3


def test_every_label_of_an_intent_is_trained_on(data: dict[str, TaskData]) -> None:
    (fold,) = data["ic"].folds
    train, test = (
        [set(slot) for slot in zip(*(u.target.split("|") for u in part), strict=True)]
        for part in (fold.train, fold.test)
    )
    assert [len(slot) for slot in train] == [4, 4, 4]
    assert test == train
    assert "none" in train[2]


def test_slots_are_the_labels_of_the_same_command(data: dict[str, TaskData]) -> None:
    intents = {u.id: u.target.split("|") for u in data["ic"].utterances()}
    for u in data["sf"].utterances():
        _, device, room = intents[u.id]
        assert f"B-device {device.upper()} E-device" in u.target
        assert u.target.endswith(f"IN THE B-room {room.upper()} E-room") == (room != "none")
    assert {u.path for u in data["sf"].utterances()} == {u.path for u in data["ic"].utterances()}


def test_trials_compare_voices_that_are_not_trained_on(data: dict[str, TaskData]) -> None:
    (fold,) = data["asv"].folds
    voices = {u.id: u.target for u in fold.test}
    assert len({voices[end] for trial in fold.trials for end in (trial.enrolment, trial.test)}) == 7
    assert 0.25 < sum(trial.same for trial in fold.trials) / len(fold.trials) < 0.5
    assert {trial.same for trial in fold.dev_trials} == {True, False}
    assert {u.path for u in fold.test} <= {u.path for u in data["asr"].utterances()}, "features are shared"


def test_mixtures_are_of_two_voices_of_their_split(data: dict[str, TaskData]) -> None:
    voices = [{turn.speaker for u in part for turn in u.segments} for _, part in data["sd"].folds[0].splits()]
    assert not any(a & b for a, b in combinations(voices, 2))
    assert all(len({turn.speaker for turn in u.segments}) == 2 for u in data["sd"].utterances())


def test_every_term_is_in_some_document_of_another_voice(data: dict[str, TaskData]) -> None:
    (fold,) = data["qbe"].folds
    for documents, queries in ((fold.dev, fold.dev_queries), (fold.test, fold.queries)):
        assert len(queries) >= 18
        assert {q for d in documents for q in d.target.split()} == {q.id for q in queries}
        assert not {d.speaker for d in documents} & {q.speaker for q in queries}
        share = sum(len(d.target.split()) for d in documents) / (len(documents) * len(queries))
        assert 0.05 < share < 0.3


def test_test_phones_and_words_occur_in_training(data: dict[str, TaskData]) -> None:
    for task in ("pr", "asr"):
        (fold,) = data[task].folds
        train, test = ({token for u in part for token in u.target.split()} for part in (fold.train, fold.test))
        assert test <= train
        assert len(train) >= 40


def test_waveforms_are_16_khz_and_neither_silent_nor_clipped(data: dict[str, TaskData]) -> None:
    for task in TASKS:
        utterance = data[task].folds[0].test[0]
        audio = load_utterance(utterance)
        assert (audio.original_rate_hz, audio.original_channels) == (16_000, 1)
        assert len(audio.waveform) / 16_000 == pytest.approx(utterance.seconds, abs=1e-4)
        assert 0.01 < audio.waveform.abs().max() < 1.0


def test_two_caches_hold_the_same_bytes(tmp_path: Path, data: dict[str, TaskData], cache_dir: Path) -> None:
    again = tmp_path / "again"
    (there,) = cache_dir.glob("demo-v1-*")
    folder = demo.demo_folder(again)
    assert folder.name == there.name
    assert checksums(folder) == checksums(there)
    assert load_task_data("demo", "ks", cache_dir=again).fingerprint == data["ks"].fingerprint
    assert {path.name for path in again.iterdir()} == {folder.name, "content-hashes-2.sqlite"}


def test_a_damaged_file_is_made_again_and_an_intact_suite_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "plan", small_plan)
    folder = demo.demo_folder(tmp_path)
    before, made_at = checksums(folder), (folder / "manifest.tsv").stat().st_mtime_ns
    assert demo.demo_folder(tmp_path) == folder
    assert (folder / "manifest.tsv").stat().st_mtime_ns == made_at
    victim = next(folder.rglob("*.flac"))
    victim.write_bytes(victim.read_bytes()[:100])
    demo.demo_folder(tmp_path)
    assert checksums(folder) == before
    victim.unlink()
    demo.demo_folder(tmp_path)
    assert checksums(folder) == before


def test_an_interrupted_synthesis_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(path: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "plan", lambda: small_plan()[:3])
    with monkeypatch.context() as patched:
        patched.setattr(demo, "_write_noise", interrupted)
        with pytest.raises(KeyboardInterrupt):
            demo.demo_folder(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert demo.demo_folder(tmp_path).is_dir()
