"""Reading audio: conversion, and every way in which a file can be bad."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from small_suite import WriteAudio, utterance
from torchaudio.functional import resample

from skill_bench.base.errors import AudioError
from skill_bench.corpora.audio.audio import load_audio, load_utterance
from skill_bench.corpora.audio.scan import scan
from skill_bench.corpora.data import Utterance

SOURCE = "manifest.tsv:17"


def test_16_khz_mono_is_read_unchanged(write_audio: WriteAudio) -> None:
    path = write_audio("a.flac")
    audio = load_audio(path, source=SOURCE)
    expected, _ = soundfile.read(path, dtype="float32")
    assert audio.waveform.dtype == torch.float32
    np.testing.assert_array_equal(audio.waveform.numpy(), expected)
    assert (audio.original_rate_hz, audio.original_channels) == (16_000, 1)


def test_the_same_samples_in_another_container_are_the_same_waveform(write_audio: WriteAudio, tmp_path: Path) -> None:
    flac = write_audio("a.flac")
    samples, rate = soundfile.read(flac, dtype="int16")
    soundfile.write(tmp_path / "b.wav", samples, rate, subtype="PCM_16")
    first, second = (load_audio(path, source=SOURCE).waveform for path in (flac, tmp_path / "b.wav"))
    assert torch.equal(first, second)


def test_another_rate_is_resampled_and_channels_are_averaged(write_audio: WriteAudio) -> None:
    path = write_audio("a.wav", rate_hz=44_100, channels=2)
    audio = load_audio(path, source=SOURCE)
    samples, _ = soundfile.read(path, dtype="float32")
    expected = resample(torch.from_numpy(samples.mean(axis=1)), 44_100, 16_000)
    torch.testing.assert_close(audio.waveform, expected, rtol=0, atol=0)
    assert (audio.original_rate_hz, audio.original_channels) == (44_100, 2)


def test_a_tone_keeps_its_frequency_and_level_when_resampled(tmp_path: Path) -> None:
    tone = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(48_000) / 48_000)
    soundfile.write(tmp_path / "tone.wav", tone, 48_000, subtype="FLOAT")
    spectrum = load_audio(tmp_path / "tone.wav", source=SOURCE).waveform.numpy()
    magnitude = np.abs(np.fft.rfft(spectrum)) / (len(spectrum) / 2)
    assert int(np.argmax(magnitude)) == 1000
    # The resampler's pass band ripples by well under 1 %.
    assert magnitude[1000] == pytest.approx(0.5, rel=0.01)


def test_a_segment_is_the_same_as_a_slice(write_audio: WriteAudio) -> None:
    path = write_audio("a.flac")
    whole = load_audio(path, source=SOURCE).waveform
    part = load_audio(path, source=SOURCE, start_frame=1000, n_frames=2000).waveform
    torch.testing.assert_close(part, whole[1000:3000], rtol=0, atol=0)
    segment = Utterance(
        id="s", path=path, target="", speaker=None, seconds=None, source=SOURCE, start_frame=1000, n_frames=2000
    )
    torch.testing.assert_close(load_utterance(segment).waveform, part, rtol=0, atol=0)


def test_a_segment_needs_both_ends(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="together or not at all"):
        Utterance(id="s", path=tmp_path, target="", speaker=None, seconds=None, source=SOURCE, start_frame=1)


def missing(tmp_path: Path) -> Path:
    return tmp_path / "missing.wav"


def zero_bytes(tmp_path: Path) -> Path:
    path = tmp_path / "zero.wav"
    path.write_bytes(b"")
    return path


def no_samples(tmp_path: Path) -> Path:
    path = tmp_path / "none.wav"
    soundfile.write(path, np.zeros(0), 16_000)
    return path


def not_audio(tmp_path: Path) -> Path:
    path = tmp_path / "text.wav"
    path.write_text("this is not audio, " * 20)
    return path


def truncated_wav(tmp_path: Path) -> Path:
    return _cut(tmp_path / "cut.wav")


def truncated_flac(tmp_path: Path) -> Path:
    return _cut(tmp_path / "cut.flac")


def no_text(tmp_path: Path) -> Path:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.wav"))
    with path.open("wb") as file:
        soundfile.write(file, np.ones(16_000) * 0.1, 16_000, format="WAV")
    return path


def too_short(tmp_path: Path) -> Path:
    path = tmp_path / "short.wav"
    soundfile.write(path, np.ones(399) * 0.1, 16_000)
    return path


def not_a_number(tmp_path: Path) -> Path:
    return _float(tmp_path / "nan.wav", float("nan"))


def infinite(tmp_path: Path) -> Path:
    return _float(tmp_path / "inf.wav", float("inf"))


def _cut(path: Path) -> Path:
    soundfile.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, 32_000), 16_000, subtype="PCM_16")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 6 // 10])
    return path


def _float(path: Path, value: float) -> Path:
    samples = np.zeros(16_000, dtype=np.float32)
    samples[321:323] = value
    soundfile.write(path, samples, 16_000, subtype="FLOAT")
    return path


BAD = [
    (missing, "no such file. Check the path in the manifest and the audio root"),
    (zero_bytes, "the file is empty (0 bytes)"),
    (no_samples, "holds no samples"),
    (not_audio, "not readable as audio"),
    (truncated_wav, "truncated or damaged: the header states 64000 bytes of samples, "),
    (truncated_flac, "truncated or damaged"),
    (no_text, "the name is not UTF-8. Rename the file, or the folder that is called so."),
    (too_short, "24.9 ms of audio; at least 25 ms (400 samples at 16 kHz) are needed"),
    (not_a_number, "2 samples are NaN or infinite, the first at frame 321"),
    (infinite, "2 samples are NaN or infinite, the first at frame 321"),
]


@pytest.mark.parametrize(("make", "expected"), BAD, ids=[make.__name__ for make, _ in BAD])
def test_a_bad_file_is_named_with_its_manifest_line(make, expected: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = make(tmp_path)
    with pytest.raises(AudioError) as raised:
        load_audio(path, source=SOURCE)
    assert str(raised.value).startswith(f"{path} ({SOURCE}): ")
    assert expected in str(raised.value)
    assert raised.value.exit_code == 1


@pytest.mark.parametrize(("make", "expected"), BAD, ids=[make.__name__ for make, _ in BAD])
def test_the_scan_finds_it_too(make, expected: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = make(tmp_path)
    with pytest.raises(AudioError) as raised:
        scan([utterance(path, number=17)])
    assert str(raised.value).startswith(f"{path} ({SOURCE}): ")
    assert expected in str(raised.value)


def test_the_scan_reports_all_bad_files_at_once(tmp_path: Path, write_audio: WriteAudio) -> None:
    bad = [make(tmp_path) for make, _ in BAD]
    good = [write_audio(f"good{i}.flac") for i in range(3)]
    utterances = [utterance(path, number=number) for number, path in enumerate([*good, *bad], start=2)]
    with pytest.raises(AudioError) as raised:
        scan(utterances, threads=3)
    lines = str(raised.value).splitlines()
    assert lines[0] == f"{len(bad)} of {len(bad) + len(good)} audio files cannot be used:"
    assert len(lines) == 1 + len(bad)
    for line, (number, path) in zip(lines[1:], enumerate(bad, start=2 + len(good)), strict=True):
        assert line.startswith(f"  - {path} (manifest.tsv:{number}): ")


def test_a_short_segment_and_one_beyond_the_end_are_refused(write_audio: WriteAudio) -> None:
    path = write_audio("a.wav")
    with pytest.raises(AudioError, match="399 samples at 16 kHz; at least 400"):
        load_audio(path, source=SOURCE, start_frame=0, n_frames=399)
    with pytest.raises(AudioError, match="truncated or damaged: 1000 of 2000 frames"):
        load_audio(path, source=SOURCE, start_frame=7000, n_frames=2000)
    beyond = Utterance(
        id="s", path=path, target="", speaker=None, seconds=None, source=SOURCE, start_frame=7000, n_frames=2000
    )
    with pytest.raises(AudioError, match=r"has 8000 frames, but a segment ending at frame 9000 is asked for"):
        scan([beyond])


def test_a_flac_damaged_inside_is_refused_when_it_is_read(write_audio: WriteAudio) -> None:
    path = write_audio("a.flac", seconds=2)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 4000] = bytes(4000)
    path.write_bytes(bytes(content))
    with pytest.raises(AudioError, match="truncated or damaged"):
        load_audio(path, source=SOURCE)


def test_a_wav_of_unknown_length_is_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "piped.wav"
    soundfile.write(path, np.full(8000, 0.25), 16_000, subtype="PCM_16")
    content = bytearray(path.read_bytes())
    at = content.index(b"data") + 4
    content[at : at + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(bytes(content))
    assert len(load_audio(path, source=SOURCE).waveform) == 8000


def test_lengths_that_a_list_states_are_compared(write_audio: WriteAudio) -> None:
    """Durations choose utterances and order batches, so that a wrong one must show."""
    paths = [write_audio(f"{name}.wav", seconds=1) for name in "abcd"]
    stated = [1.04, 1.5, 90.0, None]
    listed = [replace(utterance(path), seconds=seconds) for path, seconds in zip(paths, stated, strict=True)]
    assert scan(listed).notes() == (
        "2 of 4 files have another length than the list says, which counts where durations choose or order (the first: "
        "b.wav, 1.5 s there, 1 s here)",
    )
    cut = replace(listed[1], start_frame=0, n_frames=8000)
    assert scan([listed[0], cut, listed[3]]).notes() == ()


def test_the_scan_counts_what_will_be_converted(write_audio: WriteAudio) -> None:
    paths = [
        write_audio("a.wav", seconds=1),
        write_audio("b.wav", seconds=1, rate_hz=8000),
        write_audio("c.wav", seconds=1, rate_hz=8000, channels=2),
    ]
    summary = scan([utterance(path) for path in paths])
    assert summary.seconds == 3
    assert summary.notes() == (
        "2 of 3 files were resampled to 16000 Hz",
        "the channels of 1 of 3 files were averaged",
    )
    assert scan([utterance(paths[0])]).notes() == ()
