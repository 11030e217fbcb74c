"""How much audio training reads again: what the features that no cache holds cost, at every use."""

from __future__ import annotations

from collections.abc import Iterable

from skill_bench.corpora.data import TaskData, Utterance
from skill_bench.tasks import TaskSpec

SEARCHED_LAYERS = 13


def audio_read_seconds(task: TaskSpec, data: TaskData, *, n_seeds: int, stays: bool) -> float:
    """Audio whose frames a run reads, as often as it does, to the last step of the stated learning rates.

    A search, of which nothing is trained, reads everything twice for each of some dozen layers.

    Args:
        task: Resolved for suite and protocol.
        data: Of the run.
        n_seeds: Each reads batches of its own.
        stays: Whether training and dev are read once and then stay in memory.
    """
    protocol, total = task.protocol, 0.0
    n_dev = -(-protocol.steps // protocol.evaluate_every_steps) if protocol.steps else 0
    for fold in data.folds:
        train, dev, test = (_seconds(part) for part in (fold.train, fold.dev, fold.test))
        if protocol.steps == 0:
            total += 2 * (SEARCHED_LAYERS * (dev + _seconds(fold.dev_queries)) + test + _seconds(fold.queries))
            continue
        drawn = protocol.steps * protocol.accumulate * protocol.batch_size * train / max(1, len(fold.train))
        total += train + dev if stays else n_seeds * (drawn + n_dev * dev)
        total += n_seeds * test
    return total


def _seconds(utterances: Iterable[Utterance]) -> float:
    return sum(utterance.seconds or 0.0 for utterance in utterances)
