"""An audio file as a 16 kHz mono tensor, with what was done to it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torchaudio.functional import resample

from skill_bench.base.errors import AudioError
from skill_bench.base.sample_rate import SAMPLE_RATE_HZ
from skill_bench.corpora.audio.conditions import apply_conditions
from skill_bench.corpora.audio.decode import MIN_SAMPLES, check_finite, decode
from skill_bench.corpora.audio.effects import apply_effects
from skill_bench.corpora.data import Utterance


@dataclass(frozen=True, kw_only=True)
class Audio:
    """A waveform and where it came from.

    Attributes:
        waveform: ``(samples,)`` float32 at 16 kHz; integer formats lie in [-1, 1].
        original_rate_hz: The file's own rate; another one than 16 kHz means that it was resampled.
        original_channels: More than one means that they were averaged.
    """

    waveform: Float[Tensor, " samples"]
    original_rate_hz: int
    original_channels: int


def load_audio(path: Path, *, source: str, start_frame: int | None = None, n_frames: int | None = None) -> Audio:
    """Reads a file, or a segment of it (in frames of its own rate), as 16 kHz mono.

    Resampling is torchaudio.functional.resample with its default windowed sinc.

    Raises:
        AudioError: whatever `skill_bench.corpora.audio.decode.decode` finds, or fewer than 400 samples at 16 kHz.
    """
    decoded = decode(path, source=source, start_frame=start_frame, n_frames=n_frames)
    with np.errstate(over="ignore"):  # the mean of finite channels may not be finite; that is looked at below
        waveform = torch.from_numpy(decoded.samples.mean(axis=1))
    if decoded.rate_hz != SAMPLE_RATE_HZ:
        waveform = resample(waveform, decoded.rate_hz, SAMPLE_RATE_HZ)
    if len(waveform) < MIN_SAMPLES:
        raise AudioError(
            f"{path} ({source}): {len(waveform)} samples at 16 kHz; at least {MIN_SAMPLES} (25 ms) are needed. "
            "Remove the line from the manifest."
        )
    waveform = waveform.contiguous()
    check_finite(waveform[:, None].numpy(), f"{path} ({source})")
    return Audio(
        waveform=waveform,
        original_rate_hz=decoded.rate_hz,
        original_channels=decoded.samples.shape[1],
    )


def load_utterance(utterance: Utterance) -> Audio:
    """`load_audio` of an utterance's file or segment, under its imitated conditions and its protocol's effects, if any.

    Raises:
        AudioError: as `load_audio`, or nothing is left without silence.
    """
    audio = load_audio(
        utterance.path, source=utterance.source, start_frame=utterance.start_frame, n_frames=utterance.n_frames
    )
    if utterance.conditions is None and utterance.effects is None:
        return audio
    waveform = audio.waveform
    if utterance.conditions is not None:
        waveform = torch.from_numpy(apply_conditions(waveform.numpy(), utterance.conditions))
    if utterance.effects is not None:
        place = f"{utterance.path} ({utterance.source})"
        waveform = apply_effects(waveform, utterance.effects, min_samples=MIN_SAMPLES, place=place).contiguous()
    return replace(audio, waveform=waveform)
