"""Speaker diarization: errors counted in time and speaker by speaker.

As dscore scores SUPERB's SD: no collar, overlaps included, the reference in the times that it states. Where
recogniser and reference are both in frames, the counts are those of s3prl 0.4.18 ``metric/diarization.py``
(``calc_diarization_error``). Where we differ from that: s3prl maps speakers by the loss, here the mapping is the one
with the fewest errors, as in NIST's scoring; the rate is over the corpus, where s3prl's training log averages the rates
of recordings; and numbers of speakers may differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Real
from numpy import ndarray
from scipy.optimize import linear_sum_assignment

from skill_bench.metrics.ratio import Ratio

FrameSegments = Sequence[Sequence[int]]
"""``(speaker, first frame, frame after the last)`` each."""

Segments = Sequence[Sequence[float]]
"""``(speaker, start, end)`` each, in frames; they need not start or end with one."""


@dataclass(frozen=True, kw_only=True)
class DiarizationErrors:
    """Frames times speakers: missed, falsely alarmed, given to the wrong speaker; ``speech`` of the reference."""

    missed: float
    false_alarm: float
    confused: float
    speech: float

    @property
    def rate(self) -> Ratio:
        """The diarization error rate."""
        return Ratio(numerator=self.missed + self.false_alarm + self.confused, denominator=self.speech)


def segment_errors(*, reference: Segments, found: Segments) -> DiarizationErrors:
    """Errors of one recording in continuous time, in frames: between two boundaries of segments nothing changes."""
    boundaries = np.unique([time for segment in (*reference, *found) for time in segment[1:]])
    place = {time: i for i, time in enumerate(boundaries.tolist())}

    def active(segments: Segments) -> Bool[ndarray, "stretches speakers"]:
        placed = [(int(speaker), place[start], place[end]) for speaker, start, end in segments]
        return activity(placed, n_frames=max(len(place) - 1, 0))

    return diarization_errors(reference=active(reference), found=active(found), lengths=np.diff(boundaries))


def diarization_errors(
    *,
    reference: Bool[ndarray, "frames speakers"],
    found: Bool[ndarray, "frames found_speakers"],
    lengths: Real[ndarray, " frames"] | None = None,
) -> DiarizationErrors:
    """Errors of one recording under the best one-to-one mapping of speakers.

    Args:
        reference: Who speaks.
        found: Who was found to speak.
        lengths: Of each frame; 1 where they are not given.

    Raises:
        ValueError: the numbers of frames differ.
    """
    if len(reference) != len(found):
        raise ValueError(f"{len(reference)} reference frames for {len(found)} frames")
    weight = np.ones(len(reference), dtype=np.int64) if lengths is None else lengths
    wanted, given = reference.sum(axis=1), found.sum(axis=1)
    together = (reference * weight[:, None]).T @ found.astype(weight.dtype)
    agreed = together[linear_sum_assignment(together, maximize=True)].sum().item()
    return DiarizationErrors(
        missed=(np.maximum(wanted - given, 0) @ weight).item(),
        false_alarm=(np.maximum(given - wanted, 0) @ weight).item(),
        confused=max((np.minimum(wanted, given) @ weight).item() - agreed, 0),  # rounding may leave less than nothing
        speech=(wanted @ weight).item(),
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
