"""From a cell to what its kind of task finds, on one thread."""

from __future__ import annotations

from collections.abc import Iterator

from skill_bench.evaluation import kinds
from skill_bench.evaluation.solving.cell import Cell, Solved
from skill_bench.features.threads import threads
from skill_bench.tasks import TaskSpec

HEAD_THREADS = 1
"""CPU threads that heads are trained with: several add up floats in another order, and training makes much of that."""


def solve(cell: Cell[TaskSpec]) -> Iterator[Solved]:
    """What the cell's kind finds for each seed, computed with `HEAD_THREADS` so that it depends on no machine's cores.

    Extraction takes as many threads as there are: `skill_bench.features.extraction`.
    """
    with threads(HEAD_THREADS):
        yield from kinds.load(cell.task.kind).solve(cell)
