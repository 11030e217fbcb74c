"""Whether the memory is enough for the longest recordings: asked before they are read, not by being killed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from skill_bench.base import memory
from skill_bench.base.errors import DataError
from skill_bench.base.sample_rate import SAMPLE_RATE_HZ
from skill_bench.corpora.data import Utterance

Estimate = Callable[[int], int | None]
"""Bytes for so many samples; None where nobody knows."""


def require_memory(
    utterances: Sequence[Utterance], *, upstream: str, estimate: Estimate, max_samples: int | None
) -> None:
    """Checks each utterance alone.

    Args:
        utterances: Those to be extracted.
        upstream: Its name.
        estimate: Of the upstream.
        max_samples: What is heard of each; all of it where it is None.

    Raises:
        DataError: names the longest, what it needs and what there is.
    """
    longest = max(utterances, key=lambda u: u.seconds or 0.0, default=None)
    needed = None if longest is None else _needed(longest, estimate, max_samples)
    available = None if needed is None else memory.available_bytes()
    if longest is None or needed is None or available is None or needed <= available:
        return
    raise DataError(
        f"utterance {longest.id!r} ({longest.path}, {longest.source}): its {longest.seconds:.0f} s at once need "
        f"{needed / 1e9:.3g} GB of memory in upstream {upstream!r}, and {available / 1e9:.3g} GB are available. Cut the "
        "recording into shorter ones, leave it out of the manifest, or take a machine with more memory."
    )


def at_once(batches: Sequence[Sequence[Utterance]], most: int, *, estimate: Estimate, max_samples: int | None) -> int:
    """How many of ``batches`` fit into the memory together, at least one and at most ``most``."""
    needs = (_needed(u, estimate, max_samples) or 0 for batch in batches for u in batch)
    needed = max(needs, default=0)
    available = memory.available_bytes() if needed else None
    return most if available is None else max(1, min(most, available // needed))


def _needed(utterance: Utterance, estimate: Estimate, max_samples: int | None) -> int | None:
    n_samples = round((utterance.seconds or 0.0) * SAMPLE_RATE_HZ)
    return estimate(n_samples if max_samples is None else min(n_samples, max_samples))
