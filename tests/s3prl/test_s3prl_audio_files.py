"""torchaudio.load, info and save on soundfile."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import soundfile
import torch
import torchaudio

import skill_bench.s3prl  # noqa: F401  (puts them into torchaudio)
from skill_bench.base.errors import AudioError, UsageError

WAVES = torch.stack([torch.linspace(-1.0, 0.75, 400), torch.linspace(0.5, -0.25, 400)])


def test_float_wav_round_trip_is_exact(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    torchaudio.save(str(path), WAVES, 22050)
    loaded, rate_hz = torchaudio.load(path)
    assert rate_hz == 22050
    assert loaded.dtype == torch.float32
    torch.testing.assert_close(loaded, WAVES, rtol=0, atol=0)
    assert torchaudio.info(str(path)) == torchaudio.AudioMetaData(22050, 400, 2, 32, "PCM_F")


@pytest.mark.parametrize(
    ("name", "arguments", "bits", "encoding"),
    [
        ("a.wav", {"bits_per_sample": 16}, 16, "PCM_S"),
        ("a.wav", {"encoding": "PCM_S", "bits_per_sample": 24}, 24, "PCM_S"),
        ("a.wav", {"encoding": "PCM_U", "bits_per_sample": 8}, 8, "PCM_U"),
        ("a.wav", {"encoding": "PCM_F", "bits_per_sample": 64}, 64, "PCM_F"),
        ("a.flac", {}, 16, "FLAC"),
        ("a.flac", {"bits_per_sample": 24}, 24, "FLAC"),
    ],
)
def test_codings(tmp_path: Path, name: str, arguments: dict[str, object], bits: int, encoding: str) -> None:
    torchaudio.save(tmp_path / name, WAVES, 16000, **arguments)
    info = torchaudio.info(tmp_path / name)
    assert (info.bits_per_sample, info.encoding, info.num_channels) == (bits, encoding, 2)
    loaded, _ = torchaudio.load(tmp_path / name)
    # One step of the coding; full scale -1 is representable, rounding costs half a step.
    torch.testing.assert_close(loaded, WAVES, rtol=0, atol=2.0 ** (1 - min(bits, 24)))


@pytest.mark.parametrize(("dtype", "bits"), [(torch.int16, 16), (torch.int32, 32), (torch.uint8, 8)])
def test_integers_keep_their_width_and_values(tmp_path: Path, dtype: torch.dtype, bits: int) -> None:
    values = torch.tensor([[0, 1, 100, 127, 128, 200, 255]], dtype=torch.int64)
    scaled = values.to(dtype) if dtype == torch.uint8 else (values * 2 ** (bits - 9)).to(dtype)
    torchaudio.save(tmp_path / "a.wav", scaled, 8000)
    assert torchaudio.info(tmp_path / "a.wav").bits_per_sample == bits
    loaded, _ = torchaudio.load(tmp_path / "a.wav")
    expected = (values - 128) / 128 if dtype == torch.uint8 else values / 256
    torch.testing.assert_close(loaded, expected.float(), rtol=0, atol=0)
    if dtype != torch.uint8:
        whole, _ = torchaudio.load(tmp_path / "a.wav", normalize=False)
        assert whole.dtype == dtype
        assert whole.tolist() == scaled.tolist()


def test_part_of_a_file_and_channels_last(tmp_path: Path) -> None:
    torchaudio.save(tmp_path / "a.wav", WAVES.t(), 16000, channels_first=False)
    part, _ = torchaudio.load(tmp_path / "a.wav", frame_offset=100, num_frames=50)
    torch.testing.assert_close(part, WAVES[:, 100:150], rtol=0, atol=0)
    beyond, _ = torchaudio.load(tmp_path / "a.wav", frame_offset=390, num_frames=50)
    assert beyond.shape == (2, 10)
    assert torchaudio.load(tmp_path / "a.wav", frame_offset=1000)[0].shape == (2, 0)
    last, _ = torchaudio.load(tmp_path / "a.wav", channels_first=False)
    torch.testing.assert_close(last, WAVES.t(), rtol=0, atol=0)


def test_file_objects() -> None:
    file = io.BytesIO()
    torchaudio.save(file, WAVES, 16000, format="wav")
    file.seek(0)
    loaded, _ = torchaudio.load(file)
    torch.testing.assert_close(loaded, WAVES, rtol=0, atol=0)


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"nothing.wav: no such audio file"):
        torchaudio.load(str(tmp_path / "nothing.wav"))
    (tmp_path / "text.wav").write_text("not audio")
    for function in (torchaudio.load, torchaudio.info):
        with pytest.raises(AudioError, match=r"text.wav: cannot be read as audio"):
            function(tmp_path / "text.wav")


def test_what_cannot_be_saved_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"2 dimensions, found shape \(400,\)"):
        torchaudio.save(tmp_path / "a.wav", WAVES[0], 16000)
    with pytest.raises(UsageError, match="no WAV with encoding 'GSM' and 16 bits"):
        torchaudio.save(tmp_path / "a.wav", WAVES, 16000, encoding="GSM", bits_per_sample=16)


def test_backend_switches_are_accepted() -> None:
    torchaudio.set_audio_backend("sox_io")
    assert torchaudio.get_audio_backend() == "soundfile"
    assert torchaudio.list_audio_backends() == ["soundfile"]


def test_real_recording_equals_soundfile(corpora: Path) -> None:
    path = next((corpora / "emodb" / "wav").iterdir())
    expected, rate_hz = soundfile.read(path, dtype="float32")
    loaded, loaded_rate_hz = torchaudio.load(path)
    assert (loaded_rate_hz, loaded.shape) == (rate_hz, (1, len(expected)))
    torch.testing.assert_close(loaded[0], torch.from_numpy(expected), rtol=0, atol=0)
