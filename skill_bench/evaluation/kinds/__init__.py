"""Kinds of tasks, one module each: what its data must be, how it is solved, what a prediction looks like.

A kind is a module with two functions, see :class:`Kind`; ``kind = "ctc"`` in a task's file means
`skill_bench.evaluation.kinds.ctc`. How predictions become metrics is in `skill_bench.metrics.scoring`, which
needs the stored predictions only.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Protocol, cast

from skill_bench.corpora.data import TaskData
from skill_bench.evaluation.kinds.cell import Cell, Solved
from skill_bench.features.threads import threads
from skill_bench.tasks import TaskSpec

HEAD_THREADS = 1
"""CPU threads that heads are trained with: several add up floats in another order, and training makes much of that."""


class Kind(Protocol):
    """What a module of this package provides."""

    def check(self, task: TaskSpec, data: TaskData) -> None:
        """Raises a `DataError` that names utterances if the data cannot be used, before anything is extracted."""
        ...

    def solve(self, cell: Cell) -> Iterator[Solved]:
        """For each seed, as soon as it is finished: trains, chooses on dev, and predicts test once."""
        ...


def solve(cell: Cell) -> Iterator[Solved]:
    """What the cell's kind finds for each seed, computed with `HEAD_THREADS` so that it depends on no machine's cores.

    Extraction takes as many threads as there are: `skill_bench.features.extraction`.
    """
    with threads(HEAD_THREADS):
        yield from load(cell.task.kind).solve(cell)


def load(kind: str) -> Kind:
    """The module of a kind; `skill_bench.tasks.KINDS` names them all."""
    return cast(Kind, importlib.import_module(f"{__name__}.{kind}"))
