"""Who speaks when: a forward LSTM with one output a speaker, trained under the best order of speakers.

As s3prl 0.4.18 ``downstream/diarization``, except that recordings are never cut into chunks, and that labels have
exactly the upstream's frames, where s3prl repeats or drops features at the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from skill_bench.base.errors import DataError
from skill_bench.corpora.data import TaskData, Utterance
from skill_bench.evaluation.solving.checks import check_folds, place
from skill_bench.evaluation.solving.requests import Request, everything
from skill_bench.tasks import Decision, TrainedSpec

if TYPE_CHECKING:
    from skill_bench.evaluation.solving.cell import Cell, Solved
    from skill_bench.features.extract import Features

# Manifests round times.
_TOLERANCE_SECONDS = 0.05

HUB_TASK = "voice-activity-detection"


class Spec(TrainedSpec):
    """A task whose targets are segments with speakers."""

    metrics: ClassVar = ("der",)
    heads: ClassVar = ("lstm",)

    kind: Literal["diarization"]
    decision: Decision


def check(task: Spec, data: TaskData) -> None:
    """Every recording has segments, and each lies within it."""
    for fold, where in check_folds(task, data):
        for split, utterances in fold.splits():
            for utterance in utterances:
                _check_segments(utterance, f"{where}, {split}")


def _check_segments(utterance: Utterance, where: str) -> None:
    if not utterance.segments:
        raise DataError(f"{where}: {place(utterance)} has no segment. Say who speaks when, or remove it.")
    for segment in utterance.segments:
        end = utterance.seconds
        if not 0 <= segment.start_seconds < segment.end_seconds or (
            end is not None and segment.end_seconds > end + _TOLERANCE_SECONDS
        ):
            length = "" if end is None else f" of {end:.2f} s"
            raise DataError(
                f"{where}: {place(utterance)}{length} has a segment of {segment.speaker!r} from "
                f"{segment.start_seconds:.2f} to {segment.end_seconds:.2f} s. Segments have a length and lie within "
                "the recording."
            )


def requests(task: Spec, data: TaskData) -> list[Request]:
    """Frames of everything."""
    return everything(data)


def solve(cell: Cell[Spec], features: Sequence[Features]) -> Iterator[Solved]:
    """Trains on frames."""
    from skill_bench.base.sample_rate import SAMPLE_RATE_HZ
    from skill_bench.evaluation.kinds.diarization.problem import DiarizationProblem
    from skill_bench.evaluation.solving.trained import train_folds

    (frames,) = features
    problems = [
        DiarizationProblem(
            task=cell.task,
            decision=cell.task.decision,
            fold=fold,
            features=frames,
            frame_counts=frames.frame_counts,
            frame_seconds=cell.upstream.downsample_rate / SAMPLE_RATE_HZ,
            device=cell.device,
        )
        for fold in cell.data.folds
    ]
    return train_folds(cell, problems, chosen_by=cell.task.decision.checkpoint_by)
