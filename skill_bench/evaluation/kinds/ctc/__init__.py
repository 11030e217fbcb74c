"""Tokens in time: a frame-wise head trained with CTC (phones, characters, characters with slots)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from skill_bench.base.errors import DataError
from skill_bench.corpora.data import TaskData
from skill_bench.evaluation.solving.checks import check_folds, place, some
from skill_bench.evaluation.solving.requests import Request, everything
from skill_bench.tasks import Target, TrainedSpec

if TYPE_CHECKING:
    from skill_bench.evaluation.solving.cell import Cell, Solved
    from skill_bench.features.extract import Features
    from skill_bench.probes.tokens import Tokens

HUB_TASK = "automatic-speech-recognition"


class Spec(TrainedSpec):
    """A task whose targets are texts."""

    metrics: ClassVar = ("per", "wer", "f1")
    heads: ClassVar = ("linear", "blstm")
    samplings: ClassVar = ("length_bucketed", "sliding_buckets")

    kind: Literal["ctc"]
    target: Target


def check(task: Spec, data: TaskData) -> None:
    """Every target has tokens, and all of them are in the vocabulary."""
    tokens = _tokens(task, data)
    for fold, where in check_folds(task, data):
        for split, utterances in fold.splits():
            for utterance in utterances:
                if not tokens.split(utterance.target):
                    raise DataError(f"{where}: the target of {place(utterance)} in {split} is empty.")
                unknown = sorted(tokens.unknown(utterance.target))
                if unknown:
                    raise DataError(
                        f"{where}: {some(unknown)} in the target of {place(utterance)} in {split}; the task's "
                        f"vocabulary is {' '.join(repr(token) for token in tokens.vocabulary)}. Correct the manifest."
                    )


def requests(task: Spec, data: TaskData) -> list[Request]:
    """Frames of everything."""
    return everything(data)


def solve(cell: Cell[Spec], features: Sequence[Features]) -> Iterator[Solved]:
    """Trains on frames."""
    from skill_bench.evaluation.kinds.ctc.problem import SequenceProblem
    from skill_bench.evaluation.solving.trained import train_folds

    tokens = _tokens(cell.task, cell.data)
    (frames,) = features
    problems = [
        SequenceProblem(
            task=cell.task,
            fold=fold,
            tokens=tokens,
            features=frames,
            frame_counts=frames.frame_counts,
            device=cell.device,
        )
        for fold in cell.data.folds
    ]
    return train_folds(cell, problems)


def _tokens(task: Spec, data: TaskData) -> Tokens:
    from skill_bench.probes.tokens import Tokens

    return Tokens.of(task.target, texts=[utterance.target for utterance in data.utterances()])
