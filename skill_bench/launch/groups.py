"""Tasks of upstreams in groups of about equal length, each of one upstream, which its job loads once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

GROUPS_PER_JOB = 2
"""Of those that run at a time: few, since each loads an upstream, and more than one, to even out the end."""

Owner = tuple[int, tuple[int, ...]]
"""An upstream's place in the plan, and seeds."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """The missing cells of one task, which run together. ``seconds`` None: nobody knows."""

    owner: Owner
    task: str
    seconds: float | None = None


def grouped(work: Sequence[Work], *, n_at_once: int) -> list[list[Work]]:
    """The groups, longest first, and in each the longest first; all of a group have one owner.

    Each owner's work is shared out to as many groups as its part of the whole deserves, the longest first, always to
    the group that has least. What nobody knows the length of counts as the mean of the others.
    """
    known = [one.seconds for one in work if one.seconds is not None]
    mean = sum(known) / len(known) if known else 1.0

    def seconds(some: Iterable[Work]) -> float:
        return sum(mean if one.seconds is None else one.seconds for one in some)

    largest = seconds(work) / (GROUPS_PER_JOB * n_at_once) or 1.0
    groups: list[list[Work]] = []
    for owner in dict.fromkeys(one.owner for one in work):
        own = sorted((one for one in work if one.owner == owner), key=lambda one: -seconds([one]))
        n = min(len(own), max(1, math.ceil(seconds(own) / largest)))
        bins: list[list[Work]] = [[] for _ in range(n)]
        for one in own:
            min(bins, key=seconds).append(one)
        groups += filter(None, bins)
    return sorted(groups, key=seconds, reverse=True)
