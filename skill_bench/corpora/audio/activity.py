"""Where in a clean recording of one speaker there is speech: energy against the recording's own level."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from skill_bench.base.sample_rate import SAMPLE_RATE_HZ

_FRAME_SECONDS = 0.02
# Below the recording's loud frames (the 95th percentile) by more than this is a pause.
_RANGE_DB = 30.0
# Closer stretches are one, and shorter ones are clicks.
_MIN_PAUSE_SECONDS, _MIN_SPEECH_SECONDS = 0.25, 0.1


def speech_stretches(samples: NDArray[np.float32]) -> list[tuple[float, float]]:
    """``(start, end)`` in seconds of each stretch of speech in ``(samples,)`` at 16 kHz, in order, apart.

    A simple detector for read and synthesised speech without noise; it decides references of simulated mixtures, so
    pauses within words stay speech and pauses between sentences do not.
    """
    size = round(_FRAME_SECONDS * SAMPLE_RATE_HZ)
    frames = samples[: len(samples) // size * size].astype(np.float64).reshape(-1, size)
    if not len(frames):
        return []
    level_db = 10 * np.log10(np.mean(frames**2, axis=1) + 1e-12)
    active = level_db > np.percentile(level_db, 95) - _RANGE_DB
    edges = np.flatnonzero(np.diff(np.concatenate(([0], active.astype(np.int8), [0]))))
    stretches: list[tuple[float, float]] = []
    for start, end in (edges.reshape(-1, 2) * _FRAME_SECONDS).tolist():
        if stretches and start - stretches[-1][1] < _MIN_PAUSE_SECONDS:
            stretches[-1] = (stretches[-1][0], end)
        else:
            stretches.append((start, end))
    return [(start, end) for start, end in stretches if end - start >= _MIN_SPEECH_SECONDS]
