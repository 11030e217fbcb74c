"""Speaker diarization: errors counted frame by frame and speaker by speaker.

Counts of s3prl 0.4.18 ``metric/diarization.py`` (``calc_diarization_error``). Where we differ: s3prl maps speakers by
the loss, here the mapping is the one with the fewest errors, as in NIST's scoring; the rate is over the corpus, where
s3prl's training log averages the rates of recordings; and numbers of speakers may differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool
from numpy import ndarray
from scipy.optimize import linear_sum_assignment

from skill_bench.metrics.ratio import Ratio

FrameSegments = Sequence[Sequence[int]]
"""``(speaker, first frame, frame after the last)`` each."""


@dataclass(frozen=True, kw_only=True)
class DiarizationErrors:
    """Frames times speakers: missed, falsely alarmed, given to the wrong speaker; ``speech`` of the reference."""

    missed: int
    false_alarm: int
    confused: int
    speech: int

    @property
    def rate(self) -> Ratio:
        """The diarization error rate."""
        return Ratio(numerator=self.missed + self.false_alarm + self.confused, denominator=self.speech)


def diarization_errors(
    *, reference: Bool[ndarray, "frames speakers"], found: Bool[ndarray, "frames found_speakers"]
) -> DiarizationErrors:
    """Errors of one recording under the best one-to-one mapping of speakers.

    Raises:
        ValueError: the numbers of frames differ.
    """
    if len(reference) != len(found):
        raise ValueError(f"{len(reference)} reference frames for {len(found)} frames")
    wanted, given = reference.sum(axis=1), found.sum(axis=1)
    together = reference.T.astype(np.int64) @ found.astype(np.int64)
    agreed = int(together[linear_sum_assignment(together, maximize=True)].sum())
    return DiarizationErrors(
        missed=int(np.maximum(wanted - given, 0).sum()),
        false_alarm=int(np.maximum(given - wanted, 0).sum()),
        confused=int(np.minimum(wanted, given).sum()) - agreed,
        speech=int(wanted.sum()),
    )


def activity(segments: FrameSegments, *, n_frames: int) -> Bool[ndarray, "frames speakers"]:
    """Which speaker is active in which frame; speakers are numbered from 0."""
    n_speakers = 1 + max((speaker for speaker, _, _ in segments), default=0)
    active = np.zeros((n_frames, n_speakers), dtype=bool)
    for speaker, start, end in segments:
        active[start:end, speaker] = True
    return active


def segments_of(active: Bool[ndarray, "frames speakers"]) -> list[tuple[int, int, int]]:
    """The runs of activity, the inverse of `activity`."""
    padded = np.pad(active.astype(np.int8), ((1, 1), (0, 0)))
    found = []
    for speaker, change in enumerate(np.diff(padded, axis=0).T):
        starts, ends = np.flatnonzero(change == 1), np.flatnonzero(change == -1)
        found += [(speaker, int(start), int(end)) for start, end in zip(starts, ends, strict=True)]
    return found
