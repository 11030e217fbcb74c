"""One label an utterance: a linear probe on features averaged over time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from skill_bench.corpora.data import TaskData
from skill_bench.evaluation.solving.checks import check_classes, check_folds
from skill_bench.evaluation.solving.requests import Request, train_and_held_out
from skill_bench.tasks import TrainedSpec

if TYPE_CHECKING:
    from skill_bench.evaluation.solving.cell import Cell, Solved
    from skill_bench.features.extract import Features

HUB_TASK = "audio-classification"


class Spec(TrainedSpec):
    """A task whose targets are one label each."""

    metrics: ClassVar = ("accuracy",)
    heads: ClassVar = ("linear",)
    samplings: ClassVar = ("shuffle", "class_balanced")

    kind: Literal["utterance"]


def check(task: Spec, data: TaskData) -> None:
    """Every class of dev and test occurs in training."""
    for fold, where in check_folds(task, data):
        check_classes(fold, where)


def requests(task: Spec, data: TaskData) -> list[Request]:
    """Time means, of training cut to its longest."""
    return train_and_held_out(task, data, pooled=True)


def solve(cell: Cell[Spec], features: Sequence[Features]) -> Iterator[Solved]:
    """Trains on time means."""
    from skill_bench.evaluation.kinds.utterance.problem import solve_slots

    return solve_slots(cell, features)
