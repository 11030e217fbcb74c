"""Speakers in groups of about equal length, and groups in folds: no speaker is on both sides of a test."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from skill_bench.base.counted import counted
from skill_bench.base.errors import DataError, UsageError
from skill_bench.base.hashed import digest
from skill_bench.corpora.data import Utterance

LEAST_FOLDS = 3
"""One to test on, and two of which each chooses the penalty for the other."""


@dataclass(frozen=True, kw_only=True)
class Speakers:
    """Attributes:
    group_of: By utterance id.
    fold_of: By group.
    n_speakers: A file whose speaker is unknown counts as one.
    n_unknown: How many such files there are.
    """

    group_of: Mapping[str, int]
    fold_of: tuple[int, ...]
    n_speakers: int
    n_unknown: int


def divide(utterances: Sequence[Utterance], *, n_folds: int, n_groups: int) -> Speakers:
    """At most ``n_groups`` groups of whole speakers, each in one of ``n_folds`` folds, whatever the utterances' order.

    The longest first, each to the group (fold) with the least speech; a hash of the name decides between equals.

    Raises:
        UsageError: fewer than 3 folds, or fewer groups than folds.
        DataError: fewer speakers than folds.
    """
    if n_folds < LEAST_FOLDS or n_groups < n_folds:
        raise UsageError(
            f"{n_folds} folds of {n_groups} groups of speakers: expected at least {LEAST_FOLDS} folds, and as many "
            "groups as folds or more. Change --folds or --groups."
        )
    seconds: dict[str, float] = defaultdict(float)
    for utterance in utterances:
        seconds[_speaker(utterance)] += utterance.seconds or 0.0
    if len(seconds) < n_folds:
        raise DataError(
            f"{counted(len(seconds), 'speaker')} for {n_folds} folds: expected at least one speaker a fold. Give "
            f"speech of more speakers, or lower --folds (at least {LEAST_FOLDS})."
        )
    group_of = _balanced(seconds, min(n_groups, len(seconds)))
    lengths: dict[str, float] = defaultdict(float)
    for name, group in group_of.items():
        lengths[str(group)] += seconds[name]
    fold_of = _balanced(lengths, n_folds)
    return Speakers(
        group_of={utterance.id: group_of[_speaker(utterance)] for utterance in utterances},
        fold_of=tuple(fold_of[str(group)] for group in range(len(lengths))),
        n_speakers=len(seconds),
        n_unknown=sum(utterance.speaker is None for utterance in utterances),
    )


def _speaker(utterance: Utterance) -> str:
    return f"file {utterance.id}" if utterance.speaker is None else f"speaker {utterance.speaker}"


def _balanced(lengths: Mapping[str, float], n_parts: int) -> dict[str, int]:
    # The second entry spreads names without a length.
    parts = [(0.0, 0, part) for part in range(n_parts)]
    found = {}
    for name in sorted(lengths, key=lambda name: (-lengths[name], digest(name))):
        total, n_names, part = heapq.heappop(parts)
        found[name] = part
        heapq.heappush(parts, (total + lengths[name], n_names + 1, part))
    return found
