"""Cuts of long training utterances: one that the id decides, or several, of which one is drawn each time.

s3prl cuts at any place. Features of any place would have to be extracted for every draw; several fixed cuts are
extracted once.
"""

from __future__ import annotations

from dataclasses import replace

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
