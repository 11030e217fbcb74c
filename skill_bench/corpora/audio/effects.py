"""What a protocol does to audio before an upstream hears it.

s3prl lowers it for some tasks, and cuts its silence by sox's ``silence`` effect, here vectorised and for one channel.
The behaviour is that of SoX 14.4.2, src/silence.c, read there and compared with the program's output:

- A sample is loud when the RMS over the last 20 ms, itself included, exceeds the threshold.
  The window starts filled with zeros, at the beginning and after each removed silence.
- *Trimming* drops samples until ``start_duration`` loud samples follow each other without a gap; these are kept.
- *Copying* keeps everything until ``stop_duration`` quiet samples follow each other; these are dropped.
  With ``stop_periods = -1`` trimming then starts again, with ``1`` the output ends.
- A shorter quiet stretch at the end of the file is kept; a loud stretch too short to end trimming is dropped.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from skill_bench.base.errors import AudioError
from skill_bench.base.sample_rate import SAMPLE_RATE_HZ
from skill_bench.corpora.data import Effects

# The largest value of sox's 32-bit sample, as a float: gain clips there.
_LARGEST = 1.0 - 2.0**-31
# s3prl 0.4.18 downstream/sv_voxceleb1/dataset.py: 0.1 s, 0.1 % of full scale, everywhere in the file.
_SILENCE = ("1", "0.1", "0.1%", "-1", "0.1", "0.1%")
Booleans = Bool[np.ndarray[Any, Any], "samples"]

_WINDOWS_PER_SECOND = 50
_FULL_SCALE = 2.0**31


def gain(waves: Float[Tensor, "*channels samples"], decibels: float) -> Float[Tensor, "*channels samples"]:
    """Multiplied by ``10 ** (decibels / 20)`` and clipped at full scale."""
    lowered: Tensor = (waves * 10.0 ** (decibels / 20.0)).clamp(-1.0, _LARGEST)
    return lowered


def apply_effects(
    waveform: Float[Tensor, " samples"], effects: Effects, *, min_samples: int, place: str
) -> Float[Tensor, " changed"]:
    """The gain, then the cut of silence.

    Args:
        waveform: At 16 kHz.
        effects: Which.
        min_samples: What must be left.
        place: The file and its manifest line, for messages.

    Raises:
        AudioError: less than ``min_samples`` are left.
    """
    changed = gain(waveform, effects.gain_db)
    if effects.trim_silence:
        changed = silence(changed[None], SAMPLE_RATE_HZ, *_SILENCE)[0][0]
        if len(changed) < min_samples:
            raise AudioError(
                f"{place}: {len(changed)} of {len(waveform)} samples are left without silence; at least {min_samples} "
                "(25 ms) are needed. Remove the line from the manifest."
            )
    return changed


def silence(
    waves: Float[Tensor, "1 samples"],
    rate_hz: int,
    start_periods: str,
    start_duration: str,
    start_threshold: str,
    stop_periods: str = "",
    stop_duration: str = "",
    stop_threshold: str = "",
) -> tuple[Tensor, int]:
    """Remove silence as ``sox … silence 1 DURATION THRESHOLD [-1|1 DURATION THRESHOLD]``.

    Args:
        waves: one channel, full scale 1.
        rate_hz: sampling rate.
        start_periods: "1", the only value offered.
        start_duration: seconds if written with a decimal point ("0.1"), else samples.
        start_threshold: per cent of full scale ("0.1%"), or decibels ("-60d").
        stop_periods: "-1", "1" or absent.
        stop_duration: as ``start_duration``.
        stop_threshold: as ``start_threshold``.

    Raises:
        ValueError: more than one channel, or arguments outside the above.
    """
    if waves.shape[0] != 1:
        raise ValueError(f"one channel is needed, found {waves.shape[0]}")
    if start_periods != "1" or stop_periods not in ("", "-1", "1"):
        raise ValueError("only start periods 1 and stop periods -1 or 1 are offered")
    # sox works on 32-bit integers; the truncation decides ties at the threshold.
    samples = np.clip(np.round(waves[0].double().numpy() * _FULL_SCALE), -_FULL_SCALE, _FULL_SCALE - 1)
    kept = _kept(
        samples,
        window=rate_hz // _WINDOWS_PER_SECOND,
        start=(_samples(start_duration, rate_hz), _level(start_threshold)),
        stop=(_samples(stop_duration, rate_hz), _level(stop_threshold)) if stop_periods else None,
        restart=stop_periods == "-1",
    )
    return torch.cat([waves[:, begin:end] for begin, end in kept] or [waves[:, :0]], dim=1), rate_hz


def _kept(
    samples: Float64[np.ndarray[Any, Any], samples],
    *,
    window: int,
    start: tuple[int, float],
    stop: tuple[int, float] | None,
    restart: bool,
) -> list[tuple[int, int]]:
    """Stretches to keep, in order."""
    n = len(samples)
    energy = np.concatenate([[0.0], np.cumsum(samples**2)])
    sums = energy[1:] - energy[np.maximum(np.arange(1, n + 1) - window, 0)]
    kept, position = [], 0
    while position < n:
        # After a removed silence the window holds zeros instead of what came before.
        sums[position : position + window] = energy[position + 1 : position + window + 1] - energy[position]
        rms = np.floor(np.sqrt(np.maximum(sums[position:], 0.0) / window))
        duration, level = start
        begin = _first_run(rms > level, duration)
        if begin is None:
            break
        if stop is None:
            kept.append((position + begin, n))
            break
        copying = begin + duration
        duration, level = stop
        end = _first_run(rms[copying:] <= level, duration)
        if end is None:
            kept.append((position + begin, n))
            break
        kept.append((position + begin, position + copying + end))
        position += copying + end + duration
        if not restart:
            break
    return kept


def _first_run(flags: Booleans, length: int) -> int | None:
    """Where the first ``length`` true flags without a gap begin; None if there are none."""
    false_at = np.concatenate([[-1], np.flatnonzero(~flags), [len(flags)]])
    long_enough = np.flatnonzero(np.diff(false_at) > length)
    return int(false_at[long_enough[0]]) + 1 if len(long_enough) else None


def _samples(duration: str, rate_hz: int) -> int:
    samples = round(float(duration) * rate_hz) if "." in duration else int(duration)
    if samples < 1:
        raise ValueError(f"duration {duration!r} must be at least one sample")
    return samples


def _level(threshold: str) -> float:
    """RMS in units of the 32-bit sample."""
    if threshold.endswith("d"):
        return float(10.0 ** (float(threshold[:-1]) / 20.0)) * (_FULL_SCALE - 1)
    return float(threshold.removesuffix("%")) / 100.0 * (_FULL_SCALE - 1)
