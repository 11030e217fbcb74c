"""From a cell to what its kind of task finds: features as the kind requests them, then its training or search."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from skill_bench.corpora.data import Effects, TaskData
from skill_bench.evaluation import kinds
from skill_bench.evaluation.solving.cell import Cell, Solved
from skill_bench.evaluation.solving.requests import Request
from skill_bench.features.extract import Features, extract
from skill_bench.models.arithmetic import threads, without_tf32
from skill_bench.tasks import TaskSpec

HEAD_THREADS = 1
"""CPU threads that heads are trained with: several add up floats in another order, and training makes much of that."""


def requests(task: TaskSpec, data: TaskData) -> list[Request]:
    """What the task's kind asks for: each utterance once, with what the protocol does to its audio."""
    effects = Effects()
    if task.audio is not None:
        effects = Effects(gain_db=task.audio.gain_db, trim_silence=task.audio.trim_silence)
    found = []
    for asked in kinds.load(task.kind).requests(task, data):
        unique = list({utterance.id: utterance for utterance in asked.utterances}.values())
        if effects != Effects():
            unique = [replace(utterance, effects=effects) for utterance in unique]
        found.append(replace(asked, utterances=unique))
    return found


def solve(cell: Cell[TaskSpec]) -> Iterator[Solved]:
    """What the cell's kind finds for each seed, computed with `HEAD_THREADS` so that it depends on no machine's cores.

    On a GPU without TF32.

    Extraction takes as many threads as there are: `skill_bench.features.extraction`.
    """
    with threads(HEAD_THREADS), without_tf32():
        cell.extracted.extend(_extract(cell, asked) for asked in requests(cell.task, cell.data))
        cell.clock.mark("features", shared_by=len(cell.seeds))
        yield from kinds.load(cell.task.kind).solve(cell, cell.extracted)


def _extract(cell: Cell[TaskSpec], asked: Request) -> Features:
    return extract(
        cell.upstream, asked.utterances, pooled=asked.pooled, max_seconds=asked.max_seconds,
        progress=cell.progress, cache_dir=cell.cache_dir, cache_limit_bytes=cell.cache_limit_bytes,
        batch_seconds=cell.batch_seconds, n_threads=cell.extraction_threads,
    )  # fmt: skip
