"""espeak-ng in its own process, the sentences, and speech for pre-training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from skill_bench.base.errors import SkillBenchError, UnknownName
from skill_bench.corpora.described.manifest import read_manifest
from skill_bench.corpora.synthetic import varied as pretraining
from skill_bench.corpora.synthetic.espeak import VARIANTS, Voice
from skill_bench.corpora.synthetic.synthesis import Line, record, synthesise
from skill_bench.corpora.synthetic.varied import grammar, languages, synthesise_speech


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
    more = synthesise_speech(tmp_path, hours=90 / 3600, seed=5, workers=1)
    assert len(more) > len(few)
    assert [u.id for u in more[: len(few)]] == [u.id for u in few]
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
