"""Training utterances that are too short are left out, as s3prl does (``downstream/sv_voxceleb1/dataset.py``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from skill_bench.base.errors import DataError
from skill_bench.base.sample_rate import SAMPLE_RATE_HZ
from skill_bench.corpora.audio.audio import load_utterance
from skill_bench.corpora.data import Fold, Utterance


def long_enough(
    fold: Fold, *, min_seconds: float | None, frame_counts: Mapping[str, int], frame_samples: int, where: str
) -> Fold:
    """The fold with the training utterances that are longer than ``min_seconds``, as the upstream hears them.

    Args:
        fold: Utterances and trials.
        min_seconds: None keeps all.
        frame_counts: Frames by id of training utterance.
        frame_samples: From one frame to the next.
        where: For messages.

    Raises:
        DataError: fewer than two speakers are left.
    """
    if min_seconds is None:
        return fold
    least = round(min_seconds * SAMPLE_RATE_HZ)
    train = tuple(u for u in fold.train if _is_longer(u, least, frame_counts[u.id], frame_samples=frame_samples))
    n_speakers = len({utterance.target for utterance in train})
    if n_speakers < 2:
        raise DataError(
            f"{where}: {len(train)} of {len(fold.train)} training utterances are longer than {min_seconds:g} s, of "
            f"{n_speakers} speakers; at least 2 are needed. Give longer ones, or lower train_min_seconds in the task's "
            "file."
        )
    return replace(fold, train=train)


def _is_longer(utterance: Utterance, least: int, n_frames: int, *, frame_samples: int) -> bool:
    """By the number of frames; where the last one decides, by the audio itself."""
    if (n_frames - 1) * frame_samples > least:
        return True
    if (n_frames + 3) * frame_samples < least:  # an upstream's window may leave so much at the end
        return False
    return len(load_utterance(utterance).waveform) > least
