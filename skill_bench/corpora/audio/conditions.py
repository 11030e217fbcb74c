"""Imitated recording conditions: level, band and noise, so that they do not tell who speaks or how.

On small closed sets the means of a log-mel spectrum recognise the recording, and with it the label. Here every
utterance gets a level, a pass band and a noise of its own, from ranges that differ between train and the other parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from skill_bench.base.hashed import seed_from
from skill_bench.base.sample_rate import SAMPLE_RATE_HZ
from skill_bench.corpora.data import Conditions, Fold, Utterance
from skill_bench.corpora.described.tables import ConditionRanges, ConditionTable

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ORDER = 4
_QUANTITIES = tuple(ConditionRanges.model_fields)


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

    band = butter(_ORDER, [conditions.low_hz, conditions.high_hz], "bandpass", fs=SAMPLE_RATE_HZ, output="sos")
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
