"""Hashes of contents: of the bytes, remembered while a file does not change, asked again when it does.

Imitated recording conditions: seeded, different between train and test, and doing what they say.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from small_suite import WriteAudio, utterance

from skill_bench.base.errors import AudioError
from skill_bench.base.sample_rate import SAMPLE_RATE_HZ
from skill_bench.corpora.audio import content
from skill_bench.corpora.audio.audio import load_utterance
from skill_bench.corpora.audio.conditions import apply_conditions, condition_note, with_conditions
from skill_bench.corpora.audio.content import content_hashes
from skill_bench.corpora.data import Conditions, Effects, Fold
from skill_bench.corpora.described.tables import ConditionRanges, ConditionTable

TRAIN = ConditionRanges(gain_db=[-30, -20], low_hz=[50, 99], high_hz=[5000, 7000], snr_db=[15, 25], noise_tilt=[0, 0.4])
TEST = ConditionRanges(
    gain_db=[-40, -31], low_hz=[100, 300], high_hz=[3000, 4000], snr_db=[5, 14], noise_tilt=[0.5, 0.9]
)
TABLE = ConditionTable(seed=3, train=TRAIN, test=TEST)
PLAIN = Conditions(gain_db=-26, low_hz=100, high_hz=3400, snr_db=60, noise_tilt=0, seed=1)


def test_hashes_are_of_the_bytes_and_by_path(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a", "b", "c")]
    for file, data in zip(files, (b"one", b"two", b"one"), strict=True):
        file.write_bytes(data)
    found = content_hashes([*files, files[0]], cache_dir=tmp_path / "cache")
    assert found == {file: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    assert found[files[0]] == found[files[2]] != found[files[1]]


def test_only_changed_files_are_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    original = content._hash

    def counted(path: Path) -> str:
        read.append(path.name)
        return original(path)

    monkeypatch.setattr(content, "_hash", counted)
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_bytes(b"12345")
    second.write_bytes(b"67890")
    before = content_hashes([first, second], cache_dir=tmp_path / "cache")
    assert content_hashes([second, first], cache_dir=tmp_path / "cache") == before
    assert sorted(read) == ["first", "second"]
    stat = first.stat()
    first.write_bytes(b"54321")  # as many bytes
    os.utime(first, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # as rsync and cp -p leave it: its ctime tells
    after = content_hashes([first, second], cache_dir=tmp_path / "cache")
    assert read[2:] == ["first"]
    assert after[second] == before[second]
    assert after[first] == hashlib.sha256(b"54321").hexdigest()


def test_a_missing_file_is_an_error_and_nothing_is_remembered(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"x")
    with pytest.raises(FileNotFoundError):
        content_hashes([file, tmp_path / "absent"], cache_dir=tmp_path / "cache")
    assert set(content_hashes([file], cache_dir=tmp_path / "cache")) == {file}


@pytest.mark.parametrize("damage", [b"", b"no database", None])
def test_a_damaged_memo_is_made_anew(damage: bytes | None, tmp_path: Path) -> None:
    file, cache = tmp_path / "a", tmp_path / "cache"
    file.write_bytes(b"x")
    before = content_hashes([file], cache_dir=cache)
    (memo,) = cache.glob("*.sqlite")
    memo.write_bytes(memo.read_bytes()[:100] + b"\xff" * 5000 if damage is None else damage)
    for _ in range(2):
        assert content_hashes([file], cache_dir=cache) == before
    assert content._recall(memo, {file: content._state(file)}) == before, "the second call read the new memo"


def test_without_a_place_for_the_memo_files_are_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file, cache = tmp_path / "a", tmp_path / "cache"
    file.write_bytes(b"x")
    cache.write_text("a file, where a folder would be")
    assert content_hashes([file], cache_dir=cache) == {file: hashlib.sha256(b"x").hexdigest()}
    assert "nothing can be kept there" in caplog.text


def fold(name: str, train: str, dev: str, test: str) -> Fold:
    parts = [tuple(utterance(Path(id), id=id) for id in ids) for ids in (train, dev, test)]
    return Fold(name=name, train=parts[0], dev=parts[1], test=parts[2])


def inside(conditions: Conditions | None, ranges: ConditionRanges) -> bool:
    assert conditions is not None
    return all(
        getattr(ranges, name)[0] - 1e-3 <= getattr(conditions, name) <= getattr(ranges, name)[1] + 1e-3
        for name in ConditionRanges.model_fields
    )


def test_dev_is_like_test_and_unlike_train() -> None:
    (made,) = with_conditions([fold("all", "abc", "de", "fgh")], TABLE)
    assert all(inside(u.conditions, TRAIN) for u in made.train)
    assert all(inside(u.conditions, TEST) for u in (*made.dev, *made.test))
    assert len({u.conditions for _, part in made.splits() for u in part}) == 8


def test_conditions_follow_the_seed_and_the_utterance_alone() -> None:
    (first,) = with_conditions([fold("all", "abc", "d", "e")], TABLE)
    (reordered,) = with_conditions([fold("all", "ca", "d", "e")], TABLE)
    assert first.train[0] == reordered.train[1]
    (other,) = with_conditions([fold("all", "abc", "d", "e")], TABLE.model_copy(update={"seed": 4}))
    assert first.train[0].conditions != other.train[0].conditions


def test_of_several_folds_each_tests_under_conditions_of_its_own() -> None:
    folds = with_conditions([fold("1", "bc", "d", "a"), fold("2", "ac", "d", "b"), fold("3", "a", "b", "cd")], TABLE)
    by_id: dict[str, set[Conditions | None]] = {}
    for made in folds:
        for _, part in made.splits():
            for u in part:
                by_id.setdefault(u.id, set()).add(u.conditions)
    assert all(len(found) == 1 for found in by_id.values()), "one audio, one condition, whichever fold"
    assert inside(folds[0].test[0].conditions, TRAIN)
    assert inside(folds[2].test[0].conditions, TEST)
    between = folds[1].test[0].conditions
    assert between is not None
    assert -35 <= between.gain_db <= -25.5


def test_level_band_and_noise_are_those_asked_for() -> None:
    noise = np.random.default_rng(0).standard_normal(4 * SAMPLE_RATE_HZ).astype(np.float32) * 0.1
    heard = apply_conditions(noise, PLAIN)
    assert 20 * np.log10(np.sqrt(np.mean(heard**2))) == pytest.approx(-26, abs=0.1)
    power = np.abs(np.fft.rfft(heard)) ** 2
    hertz = np.fft.rfftfreq(len(heard), 1 / SAMPLE_RATE_HZ)
    assert power[(hertz > 200) & (hertz < 3000)].sum() > 0.8 * power.sum()
    assert power[hertz > 5000].sum() < 1e-3 * power.sum()
    loud = apply_conditions(np.zeros(SAMPLE_RATE_HZ, dtype=np.float32), replace(PLAIN, snr_db=6))
    assert 20 * np.log10(np.sqrt(np.mean(loud**2))) == pytest.approx(-32, abs=0.1), "noise alone, 6 dB below speech"
    assert np.array_equal(heard, apply_conditions(noise, PLAIN))
    assert not np.array_equal(heard, apply_conditions(noise, replace(PLAIN, seed=2)))


def test_audio_is_loaded_under_its_conditions(write_audio: WriteAudio) -> None:
    plain = utterance(write_audio("a.wav"))
    clean, changed = load_utterance(plain), load_utterance(replace(plain, conditions=PLAIN))
    assert len(clean.waveform) == len(changed.waveform)
    assert not torch.equal(clean.waveform, changed.waveform)
    assert changed.waveform.numpy() == pytest.approx(apply_conditions(clean.waveform.numpy(), PLAIN))


def test_effects_come_after_the_conditions(write_audio: WriteAudio) -> None:
    plain = utterance(write_audio("a.wav"))
    lower = Effects(gain_db=-20.0)
    clean, changed = load_utterance(plain), load_utterance(replace(plain, effects=lower))
    assert changed.waveform.numpy() == pytest.approx(clean.waveform.numpy() / 10, rel=1e-6)
    assert not torch.equal(clean.waveform, changed.waveform)
    both = load_utterance(replace(plain, conditions=PLAIN, effects=lower)).waveform.numpy()
    # The level that the conditions give is lowered too.
    assert both == pytest.approx(apply_conditions(clean.waveform.numpy(), PLAIN) / 10, rel=1e-5, abs=1e-9)


def test_silence_is_cut_and_something_must_be_left(tmp_path: Path) -> None:
    loud, still = np.full(SAMPLE_RATE_HZ, 0.1, dtype=np.float32), np.zeros(SAMPLE_RATE_HZ, dtype=np.float32)
    for name, parts in (("speech.wav", [still, loud, still, loud, still]), ("none.wav", [still])):
        soundfile.write(tmp_path / name, np.concatenate(parts), SAMPLE_RATE_HZ)
    cut = Effects(trim_silence=True)
    speech = load_utterance(replace(utterance(tmp_path / "speech.wav"), effects=cut))
    # Each change is noticed up to a window of 20 ms late.
    assert len(speech.waveform) == pytest.approx(2 * SAMPLE_RATE_HZ, abs=4 * 0.02 * SAMPLE_RATE_HZ)
    with pytest.raises(AudioError, match=r"none\.wav \(manifest\.tsv:2\): 0 of 16000 samples are left"):
        load_utterance(replace(utterance(tmp_path / "none.wav"), effects=cut))


def test_the_note_says_what_was_done() -> None:
    one, several = (condition_note(TABLE, n_folds=n) for n in (1, 5))
    assert one.startswith("recording conditions imitated on load (seed 3): train gain_db -30..-20, low_hz 50..99,")
    assert "; dev and test gain_db" in one
    assert "(seed 3): from the first fold's test gain_db -30..-20" in several
    assert "; to the last fold's test gain_db" in several


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gain_db": [-20, -30]}, r"gain_db is \[least, most\]"),
        ({"low_hz": [100, 6000]}, "1 <= low_hz < high_hz < 8000"),
        ({"high_hz": [5000, 8000]}, "1 <= low_hz < high_hz < 8000"),
        ({"noise_tilt": [0, 1]}, "noise_tilt lies in"),
        ({"snr_db": [1]}, "at least 2 items"),
    ],
)
def test_impossible_ranges_are_refused(change: dict[str, list[float]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ConditionRanges.model_validate(TRAIN.model_dump() | change)
