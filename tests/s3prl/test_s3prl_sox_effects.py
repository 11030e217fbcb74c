"""The replacements of sox's effects against SoX's own numbers.

torchaudio.load, info and save on soundfile.
"""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import torchaudio
from sox_signals import ASV, CASES, signal

import skill_bench.s3prl  # noqa: F401  (puts them into torchaudio)
from skill_bench.base.errors import AudioError, UsageError
from skill_bench.corpora.audio.effects import silence
from skill_bench.s3prl import sox_effects

# What s3prl and the packages that it imports warn about is not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore")

EXPECTED = json.loads((Path(__file__).parent / "golden" / "sox.json").read_text())
WAVES = torch.stack([torch.linspace(-1.0, 0.75, 400), torch.linspace(0.5, -0.25, 400)])


def run(name: str) -> np.ndarray:
    case = CASES[name]
    waves = torch.from_numpy(np.atleast_2d(signal(case.signal, case.rate_hz).T)).float()
    output, rate_hz = sox_effects.apply_effects_tensor(waves, case.rate_hz, case.effects)
    assert rate_hz == 16000
    return output[0].numpy()


@pytest.mark.parametrize("name", sorted(CASES))
def test_effects_give_sox_numbers(name: str) -> None:
    output, expected = run(name), EXPECTED["cases"][name]
    assert len(output) == expected["length"]
    # Resampling: another filter design, fitted; 75 dB apart on speech, less on this smooth signal.
    # Else: sox computes on 32-bit integers, we on float32.
    tolerance = 2e-5 if name.startswith("rate") else 2e-7
    np.testing.assert_allclose(output[:: EXPECTED["step"]], expected["samples"], rtol=0, atol=tolerance)


def test_golden_numbers_exercise_the_effects() -> None:
    assert set(EXPECTED["cases"]) == set(CASES)
    lengths = {name: case["length"] for name, case in EXPECTED["cases"].items()}
    whole = len(signal("bursts", 16000))
    assert lengths["nothing but silence"] == 0
    assert 0 < lengths["silence stops"] < lengths["silence as in ASV"] < lengths["silence at the start"] < whole
    assert len({lengths[name] for name in lengths if name.startswith("silence")}) >= 4


def test_silence_needs_a_full_run_of_loud_samples() -> None:
    loud = torch.cat([torch.zeros(1000), torch.full((1599,), 0.5), torch.zeros(2000)])[None]
    arguments = ("1", "1600", "50%", "-1", "0.1", "50%")
    # The 20 ms window delays both edges; at half of full scale no sample counts as loud (strictly above the threshold).
    assert silence(loud, 16000, *arguments)[0].shape[1] == 0
    assert silence(loud, 16000, "1", "1200", "10%", "-1", "0.1", "10%")[0].shape[1] > 1200


def test_file_and_tensor_agree(tmp_path: Path) -> None:
    samples = signal("stereo", 16000)
    soundfile.write(tmp_path / "a.wav", samples, 16000, subtype="FLOAT")
    from_file, rate_hz = sox_effects.apply_effects_file(tmp_path / "a.wav", ASV)
    from_tensor, _ = sox_effects.apply_effects_tensor(torch.from_numpy(samples.T).float(), 16000, ASV)
    assert rate_hz == 16000
    assert from_file.shape[0] == 1
    torch.testing.assert_close(from_file, from_tensor, rtol=0, atol=0)


def test_to_two_channels_copies() -> None:
    output, _ = sox_effects.apply_effects_tensor(torch.tensor([[0.25, -0.5]]), 16000, [["channels", "2"]])
    assert output.tolist() == [[0.25, -0.5], [0.25, -0.5]]


@pytest.mark.parametrize(
    ("effect", "message"),
    [
        (
            ["silense", "1"],
            r"'silense' is not offered without libsox. Did you mean 'silence'\? Offered: channels, gain, rate, silence",
        ),
        (["rate"], r"sox effect 'rate': .*wanted"),
        (["gain", "loud"], r"sox effect 'gain loud': .*loud"),
        (["silence", "2", "0.1", "1%"], r"only start periods 1 and stop periods -1 or 1 are offered"),
        (["silence", "1", "0.0", "1%"], r"duration '0.0' must be at least one sample"),
    ],
)
def test_what_is_not_offered_is_said(effect: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        sox_effects.apply_effects_tensor(torch.zeros(1, 100), 16000, [effect])


def test_two_channels_have_no_silence() -> None:
    with pytest.raises(UsageError, match="one channel is needed, found 2"):
        sox_effects.apply_effects_tensor(torch.zeros(2, 100), 16000, [["silence", "1", "0.1", "1%"]])


def test_asv_trims_real_speech_as_sox_does(corpora: Path) -> None:
    expected = EXPECTED["asv_lengths"]
    ours = {path: sox_effects.apply_effects_file(corpora / path, ASV)[0].shape[1] for path in expected}
    assert len(ours) >= 10
    assert ours == expected


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
