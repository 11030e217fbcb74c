"""Which features a kind of task asks for, and cuts of long training utterances.

A cut is one that the id decides, or one of several, drawn each time.
s3prl cuts at any place. Features of any place would have to be extracted for every draw; several fixed cuts are
extracted once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from skill_bench.corpora.data import TaskData, Utterance
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


@dataclass(frozen=True, kw_only=True)
class Request:
    """Features of utterances, one of which may be named several times.

    Attributes:
        pooled: Means over time; frames otherwise.
        max_seconds: How much of each utterance is heard; all of it where it is None.
    """

    utterances: Sequence[Utterance]
    pooled: bool = False
    max_seconds: float | None = None

    def seconds_of(self, utterance: Utterance) -> float:
        """Audio that is heard of one of them."""
        return min(utterance.seconds or 0.0, self.max_seconds or float("inf"))


def everything(data: TaskData) -> list[Request]:
    """Frames of all utterances, whole."""
    return [Request(utterances=data.utterances())]


def train_and_held_out(task: TaskSpec, data: TaskData, *, pooled: bool) -> list[Request]:
    """Training apart from dev and test; one request for all unless training utterances are cut."""
    seconds = task.protocol.train_max_seconds
    if seconds is None:
        return [Request(utterances=data.utterances(), pooled=pooled)]
    train = [one for fold in data.folds for u in fold.train for one in cuts(task, u)]
    held_out = [u for fold in data.folds for u in (*fold.dev, *fold.test)]
    return [Request(utterances=train, pooled=pooled, max_seconds=seconds), Request(utterances=held_out, pooled=pooled)]
