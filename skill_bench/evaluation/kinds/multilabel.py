"""Several labels an utterance, one for each slot, as ``action|object|location``; right when all of them are.

The probe is that of `skill_bench.evaluation.kinds.utterance`, with one block of outputs a slot
(s3prl ``fluent_commands``).
"""

from __future__ import annotations

from collections.abc import Iterator

from skill_bench.base.errors import DataError
from skill_bench.corpora.data import TaskData
from skill_bench.evaluation.kinds.cell import Cell, Solved
from skill_bench.evaluation.kinds.checks import check_classes, check_folds, place
from skill_bench.evaluation.kinds.utterance import solve_slots
from skill_bench.tasks import TaskSpec

_SEPARATOR = "|"


def _slots(target: str) -> tuple[str, ...]:
    return tuple(target.split(_SEPARATOR))


def check(task: TaskSpec, data: TaskData) -> None:
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


def solve(cell: Cell) -> Iterator[Solved]:
    """Trains on time means."""
    return solve_slots(cell, slots=_slots, join=_SEPARATOR.join)
