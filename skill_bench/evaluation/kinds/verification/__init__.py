"""Is it the same speaker? An x-vector trained to tell training's speakers apart, cosines between its embeddings.

As s3prl 0.4.18 ``downstream/sv_voxceleb1``; only protocol ``s3prl`` lowers audio by 3 dB, takes its silence out and
draws cuts of long training utterances anew, from a few places.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from skill_bench.base.counted import counted
from skill_bench.base.errors import DataError, first_few
from skill_bench.corpora.data import TaskData, Trial, Utterance
from skill_bench.evaluation.solving.checks import check_folds, place, some
from skill_bench.evaluation.solving.requests import Request, train_and_held_out
from skill_bench.tasks import TrainedSpec

if TYPE_CHECKING:
    from skill_bench.evaluation.solving.cell import Cell, Solved
    from skill_bench.features.extract import Features

HUB_TASK = "audio-classification"


class Spec(TrainedSpec):
    """A task of trials between utterances of unknown speakers."""

    metrics: ClassVar = ("eer",)
    heads: ClassVar = ("xvector",)

    kind: Literal["verification"]


def check(task: Spec, data: TaskData) -> None:
    """Speakers of training do not occur in test; trials of both kinds name utterances that are there."""
    for fold, where in check_folds(task, data):
        speakers = {utterance.target for utterance in fold.train}
        if len(speakers) < 2:
            raise DataError(f"{where}: training has {len(speakers)} speaker; at least 2 are needed.")
        for split, utterances in (("dev", fold.dev), ("test", fold.test)):
            known = [u for u in utterances if u.target in speakers]
            if known:
                names = sorted({u.target for u in known})
                raise DataError(
                    f"{where}: {some(names)} in train and in {split} (for example {place(known[0])}). "
                    "Verification is about unknown speakers: keep their utterances in one part."
                )
        for split, trials, utterances in (("dev", fold.dev_trials, fold.dev), ("test", fold.trials, fold.test)):
            _check_trials(trials, utterances, f"{where}, {split}")


def _check_trials(trials: Sequence[Trial], utterances: Sequence[Utterance], where: str) -> None:
    if len({trial.same for trial in trials}) < 2:
        of = "" if not trials else " of equal speakers" if trials[0].same else " of different speakers"
        raise DataError(
            f"{where}: {counted(len(trials), 'trial')}{of}; trials of equal and of different speakers are needed. "
            "Check the trial list, or raise the limit."
        )
    absent = {i for trial in trials for i in (trial.enrolment, trial.test)} - {u.id for u in utterances}
    if absent:
        raise DataError(f"{where}: {some(sorted(absent))} in a trial but not among the utterances. Correct the list.")


def requests(task: Spec, data: TaskData) -> list[Request]:
    """Frames, of training cut to its longest."""
    return train_and_held_out(task, data, pooled=False)


def solve(cell: Cell[Spec], features: Sequence[Features]) -> Iterator[Solved]:
    """Trains on frames."""
    from skill_bench.evaluation.kinds.verification.problem import VerificationProblem, long_enough
    from skill_bench.evaluation.solving.trained import train_folds
    from skill_bench.probes import xvector

    train, held_out = features[0], features[-1]  # the same where nothing is cut
    folds = [
        long_enough(
            fold,
            min_seconds=cell.task.protocol.train_min_seconds,
            frame_counts=train.frame_counts,
            frame_samples=cell.upstream.downsample_rate,
            where=f"task {cell.task.name!r}, suite {cell.data.suite!r}, fold {fold.name!r}",
        )
        for fold in cell.data.folds
    ]
    for fold in folds:
        for split, utterances in fold.splits():
            counts = (train if split == "train" else held_out).frame_counts
            short = [u for u in utterances if counts[u.id] < xvector.MIN_FRAMES]
            if short:
                raise DataError(
                    f"task {cell.task.name!r}: an x-vector needs {xvector.MIN_FRAMES} frames, more than there are in "
                    f"{split} of {first_few(map(place, short), most=1)}. Remove what is so short."
                )
    return train_folds(
        cell,
        [
            VerificationProblem(
                task=cell.task,
                fold=fold,
                n_left_out=len(whole.train) - len(fold.train),
                train=train,
                held_out=held_out,
                train_counts=train.frame_counts,
                held_out_counts=held_out.frame_counts,
                device=cell.device,
            )
            for whole, fold in zip(cell.data.folds, folds, strict=True)
        ],
    )
