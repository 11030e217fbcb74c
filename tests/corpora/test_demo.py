"""The synthesised demo suite: always the same, repaired when damaged, without leaks between its splits.

espeak-ng in its own process, the sentences, and speech for pre-training.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from skill_bench.base.errors import SkillBenchError, UnknownName
from skill_bench.corpora.audio.audio import load_utterance
from skill_bench.corpora.data import TaskData
from skill_bench.corpora.described.manifest import read_manifest
from skill_bench.corpora.load import load_task_data
from skill_bench.corpora.synthetic import demo
from skill_bench.corpora.synthetic import varied as pretraining
from skill_bench.corpora.synthetic.demo import Item, plan
from skill_bench.corpora.synthetic.espeak import VARIANTS, Voice
from skill_bench.corpora.synthetic.rendered import checksums
from skill_bench.corpora.synthetic.synthesis import Line, record, synthesise
from skill_bench.corpora.synthetic.varied import grammar, languages, synthesise_speech

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


@pytest.mark.parametrize("language", languages())
def test_every_list_of_a_grammar_is_used_and_every_sentence_ends(language: str) -> None:
    lists = grammar(language).lists
    everything = [entry for entries in lists.values() for entry in entries]
    named = {name for entry in everything for name in entry.replace("}", "{").split("{")[1::2]}
    assert named | {"sentence"} == set(lists)
    rng = np.random.default_rng(0)
    for _ in range(200):
        sentence = grammar(language).sentence(rng)
        assert "{" not in sentence
        assert 2 <= len(sentence.split()) <= 40


def test_an_unknown_language_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match=r"unknown language 'eng'\. Did you mean 'en'\? Known: de, en, es, fr"):
        synthesise_speech(tmp_path / "speech", hours=1, seed=0, languages=["eng"])
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_voice_is_named(tmp_path: Path) -> None:
    line = Line(file="a.flac", text="hello", voice=Voice(language="xx-nowhere"))
    with pytest.raises(SkillBenchError, match=r"speech synthesis .* failed .*no voice 'xx-nowhere'"):
        synthesise([line], tmp_path)


@pytest.mark.usefixtures("among_files_named_as_modules")
def test_every_variant_exists_and_sounds_different(tmp_path: Path) -> None:
    lines = [Line(file=f"{i}.flac", text="one two", voice=Voice(variant=v)) for i, v in enumerate(VARIANTS)]
    spoken = synthesise(lines, tmp_path)
    waves = {soundfile.read(tmp_path / said.file, dtype="int16")[0].tobytes() for said in spoken}
    assert len(waves) > 0.9 * len(VARIANTS)
    assert {said.phones for said in spoken} == {("w", "ʌ", "n", "t", "uː")}


def test_prosody_changes_what_it_should(tmp_path: Path) -> None:
    def pitch_hz(wave: np.ndarray) -> float:
        wave = wave - wave.mean()
        correlation = np.correlate(wave, wave, "full")[len(wave) - 1 :]
        return 16_000 / (53 + int(np.argmax(correlation[53:267])))  # 60 to 300 Hz

    voices = [Voice(rate_wpm=120), Voice(rate_wpm=220), Voice(pitch=10, pitch_range=0), Voice(pitch=80, pitch_range=0)]
    lines = [Line(file=f"{i}.flac", text="mamma mamma mamma", voice=v) for i, v in enumerate(voices)]
    spoken = synthesise(lines, tmp_path)
    assert spoken[0].seconds > 1.5 * spoken[1].seconds
    low, high = (pitch_hz(soundfile.read(tmp_path / said.file)[0][2000:6000]) for said in spoken[2:])
    assert high > 1.3 * low


@settings(deadline=None)
@given(
    level_db=st.floats(-40, -20), snr_db=st.floats(0, 40), tilt=st.floats(-0.8, 0.8), colour=st.floats(0, 0.9)
)  # fmt: skip
def test_recording_keeps_the_level_and_the_ratio_of_noise(
    level_db: float, snr_db: float, tilt: float, colour: float
) -> None:
    speech = (8000 * np.sin(np.arange(22_050) * 0.1)).astype(np.int16)
    line = Line(file="", text="", voice=Voice(), level_db=level_db, tilt=tilt)
    clean = record(speech, 22_050, line)
    assert len(clean) == 16_000
    # Clipping cannot occur for a sine of at most -20 dB.
    assert 20 * np.log10(np.sqrt(np.mean(clean.astype(float) ** 2))) == pytest.approx(level_db, abs=0.01)
    noisy = record(speech, 22_050, replace(line, snr_db=snr_db, noise_colour=colour))
    noise = noisy.astype(float) - clean
    if np.abs(noisy).max() < 1:
        ratio = 10 * np.log10(np.mean(clean.astype(float) ** 2) / np.mean(noise**2))
        # Float32 rounding of both signals is the floor of the noise.
        assert ratio == pytest.approx(snr_db, abs=0.05)


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretraining, "_LINES_A_SHARD", 3)


@pytest.mark.usefixtures("small_shards")
def test_speech_for_pretraining_reaches_its_length_and_does_not_depend_on_the_workers(tmp_path: Path) -> None:
    seen: list[tuple[float, float]] = []
    hours = 20 / 3600
    one = synthesise_speech(tmp_path / "one", hours=hours, seed=5, workers=1, progress=lambda a, b: seen.append((a, b)))
    two = synthesise_speech(tmp_path / "two", hours=hours, seed=5, workers=2)
    assert 20 <= sum(u.seconds or 0 for u in one) < 60
    assert [(u.id, u.target, u.seconds) for u in one] == [(u.id, u.target, u.seconds) for u in two]
    for first, second in zip(one, two, strict=True):
        assert first.path.read_bytes() == second.path.read_bytes()
        assert soundfile.info(first.path).samplerate == 16_000
    assert seen[-1][0] >= seen[-1][1] == pytest.approx(20)
    manifest = read_manifest(tmp_path / "one" / "manifest.tsv")
    assert [row.values["text"] for row in manifest.rows] == [u.target for u in one]
    other = synthesise_speech(tmp_path / "other", hours=hours / 4, seed=6, workers=1)
    assert other[0].target != one[0].target


@pytest.mark.usefixtures("small_shards")
def test_finished_shards_are_kept_and_more_hours_extend_them(tmp_path: Path) -> None:
    few = synthesise_speech(tmp_path, hours=5 / 3600, seed=5, workers=1)
    stamps = {u.path: u.path.stat().st_mtime_ns for u in few}
    more = synthesise_speech(tmp_path, hours=40 / 3600, seed=5, workers=1)
    assert len(more) > len(few)
    assert [u.id for u in more[: len(few)]] == [u.id for u in few]
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
