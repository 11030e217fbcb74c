"""Cuts of long training utterances: one that the id decides, or one of several drawn anew each time, as s3prl does.

s3prl cuts at any place. Features of any place would have to be extracted for every draw; several fixed cuts are
extracted once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from skill_bench.corpora.data import Utterance
from skill_bench.tasks import TaskSpec


def cuts(task: TaskSpec, utterance: Utterance) -> tuple[Utterance, ...]:
    """The utterance, once for each of its cuts; an utterance that is not cut has one.

    The place of a cut follows from an id (`skill_bench.features.policy.cut`), so each has an id of its own. Where the
    length is not stated, the utterance may be long.
    """
    longest, count = task.protocol.train_max_seconds, task.audio.n_cuts if task.audio is not None else 1
    if longest is None or (utterance.seconds is not None and utterance.seconds <= longest):
        return (utterance,)
    others = (replace(utterance, id=f"{utterance.id} cut {number}") for number in range(1, count))
    return (utterance, *others)


class CutSampler:
    """One cut of each utterance, by number among all cuts of all utterances, in their order.

    Args:
        counts: How many cuts each utterance has.
    """

    def __init__(self, counts: Sequence[int]) -> None:
        self._counts = counts
        self._first = [0]
        for count in counts[:-1]:
            self._first.append(self._first[-1] + count)

    def draw(self, utterances: Sequence[int], generator: torch.Generator) -> list[int]:
        """Draws nothing where nothing can be chosen, so that the generator's other draws stay as they are."""
        return [
            self._first[i] + (int(torch.randint(n, (), generator=generator)) if (n := self._counts[i]) > 1 else 0)
            for i in utterances
        ]
