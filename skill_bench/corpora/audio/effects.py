"""What is done to audio before an upstream hears it: a protocol's effects, and imitated recording conditions.

s3prl lowers it for some tasks, and cuts its silence by sox's ``silence`` effect, here vectorised and for one channel.
The behaviour is that of SoX 14.4.2, src/silence.c, read there and compared with the program's output:

- A sample is loud when the RMS over the last 20 ms, itself included, exceeds the threshold.
  The window starts filled with zeros, at the beginning and after each removed silence.
- *Trimming* drops samples until ``start_duration`` loud samples follow each other without a gap; these are kept.
- *Copying* keeps everything until ``stop_duration`` quiet samples follow each other; these are dropped.
  With ``stop_periods = -1`` trimming then starts again, with ``1`` the output ends.
- A shorter quiet stretch at the end of the file is kept; a loud stretch too short to end trimming is dropped.

Conditions are level, band and noise, imitated so that they do not tell who speaks or how. On small closed sets the
means of a log-mel spectrum recognise the recording, and with it the label. Here every utterance gets a level, a pass
band and a noise of its own, from ranges that differ between train and the other parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from skill_bench.base.errors import AudioError
from skill_bench.base.hashed import seed_from
from skill_bench.base.sample_rate import SAMPLE_RATE_HZ
from skill_bench.corpora.data import Conditions, Effects, Fold, Utterance
from skill_bench.corpora.described.tables import ConditionRanges, ConditionTable

if TYPE_CHECKING:
    from numpy.typing import NDArray

# The largest value of sox's 32-bit sample, as a float: gain clips there.
_LARGEST = 1.0 - 2.0**-31
# s3prl 0.4.18 downstream/sv_voxceleb1/dataset.py: 0.1 s, 0.1 % of full scale, everywhere in the file.
_SILENCE = ("1", "0.1", "0.1%", "-1", "0.1", "0.1%")
Booleans = Bool[np.ndarray[Any, Any], "samples"]

_WINDOWS_PER_SECOND = 50
_FULL_SCALE = 2.0**31
_BAND_ORDER = 4
_QUANTITIES = tuple(ConditionRanges.model_fields)


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


def with_conditions(folds: Sequence[Fold], table: ConditionTable) -> tuple[Fold, ...]:
    """The folds with conditions drawn for every utterance, by a hash of the seed and its id.

    With one fold, train draws from ``table.train``, dev and test from ``table.test``: dev chooses among learning rates,
    and has to see those that only know the conditions of train (VoxCeleb1's dev and test are other videos as well).
    With several, an utterance is tested in one and trained on in the others, under the same conditions: those of fold
    ``i`` of ``n`` come from the ranges ``i / (n - 1)`` of the way from train's to test's.
    """
    if len(folds) == 1:
        ranges = {u.id: table.train for u in folds[0].train}
        ranges |= {u.id: table.test for part in (folds[0].dev, folds[0].test) for u in part}
    else:
        steps = [_between(table.train, table.test, i / (len(folds) - 1)) for i in range(len(folds))]
        ranges = {u.id: step for fold, step in zip(folds, steps, strict=True) for u in fold.test}

    def changed(part: tuple[Utterance, ...]) -> tuple[Utterance, ...]:
        return tuple(replace(u, conditions=_drawn(u, ranges[u.id], table.seed)) for u in part)

    return tuple(
        replace(fold, train=changed(fold.train), dev=changed(fold.dev), test=changed(fold.test)) for fold in folds
    )


def condition_note(table: ConditionTable, *, n_folds: int) -> str:
    """What was imitated, for the record."""
    where = ("train", "dev and test") if n_folds == 1 else ("from the first fold's test", "to the last fold's test")

    def shown(ranges: ConditionRanges) -> str:
        return ", ".join(f"{name} {getattr(ranges, name)[0]:g}..{getattr(ranges, name)[1]:g}" for name in _QUANTITIES)

    return (
        f"recording conditions imitated on load (seed {table.seed}): {where[0]} {shown(table.train)}; "
        f"{where[1]} {shown(table.test)}"
    )


def apply_conditions(samples: NDArray[np.float32], conditions: Conditions) -> NDArray[np.float32]:
    """``(samples,)`` at 16 kHz through a Butterworth band pass of order 4, at the level asked for, with seeded noise.

    The same samples and conditions give the same result. Values are clipped to [-1, 1].
    """
    from scipy.signal import butter, lfilter, sosfilt

    band = butter(_BAND_ORDER, [conditions.low_hz, conditions.high_hz], "bandpass", fs=SAMPLE_RATE_HZ, output="sos")
    speech = sosfilt(band, samples.astype(np.float64))
    rms = 10 ** (conditions.gain_db / 20)
    noise = np.random.default_rng(conditions.seed).standard_normal(len(samples))
    noise = lfilter([1], [1, -conditions.noise_tilt], noise)
    mixed = _unit(speech) * rms + _unit(noise) * rms * 10 ** (-conditions.snr_db / 20)
    clipped: NDArray[np.float32] = np.clip(mixed, -1, 1).astype(np.float32)
    return clipped


def _unit(wave: NDArray[np.float64]) -> NDArray[np.float64]:
    return wave / max(float(np.sqrt(np.mean(wave**2))), 1e-9)


def _drawn(utterance: Utterance, ranges: ConditionRanges, seed: int) -> Conditions:
    number = seed_from(seed, utterance.id, separator=":", n_bytes=8)
    rng = np.random.default_rng(number)
    drawn = {name: round(float(rng.uniform(*getattr(ranges, name))), 3) for name in _QUANTITIES}
    return Conditions(**drawn, seed=number % 2**32)


def _between(first: ConditionRanges, last: ConditionRanges, share: float) -> ConditionRanges:
    mixed = {
        name: [a + share * (b - a) for a, b in zip(getattr(first, name), getattr(last, name), strict=True)]
        for name in _QUANTITIES
    }
    return ConditionRanges(**mixed)
