"""The replacements of sox's effects against SoX's own numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from sox_signals import ASV, CASES, signal

from skill_bench.base.errors import UsageError
from skill_bench.corpora.audio.effects import silence
from skill_bench.s3prl import sox_effects

GOLDEN = Path(__file__).parent / "golden"

EXPECTED = json.loads((GOLDEN / "sox_effects.json").read_text())


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
    expected = json.loads((GOLDEN / "sox_asv_lengths.json").read_text())["lengths"]
    ours = {path: sox_effects.apply_effects_file(corpora / path, ASV)[0].shape[1] for path in expected}
    assert len(ours) >= 10
    assert ours == expected
