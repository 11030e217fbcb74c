"""Several labels an utterance, one for each slot, as ``action|object|location``; right when all of them are.

The probe is that of `skill_bench.evaluation.kinds.utterance`, with one block of outputs a slot
(s3prl ``fluent_commands``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from skill_bench.base.errors import DataError
from skill_bench.corpora.data import TaskData
from skill_bench.evaluation.solving.checks import check_classes, check_folds, place
from skill_bench.evaluation.solving.requests import Request, train_and_held_out
from skill_bench.tasks import TrainedSpec

if TYPE_CHECKING:
    from skill_bench.evaluation.solving.cell import Cell, Solved
    from skill_bench.features.extract import Features

_SEPARATOR = "|"

HUB_TASK = "audio-classification"


class Spec(TrainedSpec):
    """A task whose targets are several labels each."""

    metrics: ClassVar = ("accuracy",)
    heads: ClassVar = ("linear",)

    kind: Literal["multilabel"]


def _slots(target: str) -> tuple[str, ...]:
    return tuple(target.split(_SEPARATOR))


def check(task: Spec, data: TaskData) -> None:
    """Targets have equally many labels, and each occurs in training."""
    for fold, where in check_folds(task, data):
        wanted = len(_slots(fold.train[0].target))
        for _, utterances in fold.splits():
            for utterance in utterances:
                if len(_slots(utterance.target)) != wanted:
                    raise DataError(
                        f"{where}: the target of {place(utterance)} is {utterance.target!r}; "
                        f"{wanted} labels joined by {_SEPARATOR!r} are expected, as in {fold.train[0].target!r}."
                    )
        check_classes(fold, where, slots=_slots)


def requests(task: Spec, data: TaskData) -> list[Request]:
    """Time means, of training cut to its longest."""
    return train_and_held_out(task, data, pooled=True)


def solve(cell: Cell[Spec], features: Sequence[Features]) -> Iterator[Solved]:
    """Trains on time means."""
    from skill_bench.evaluation.kinds.utterance.problem import solve_slots

    return solve_slots(cell, features, slots=_slots, join=_SEPARATOR.join)
