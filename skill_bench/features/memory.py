"""Whether the memory is enough for the longest recordings: asked before they are read, not by being killed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from skill_bench.base import memory
from skill_bench.base.errors import DataError
from skill_bench.base.sample_rate import SAMPLE_RATE_HZ
from skill_bench.corpora.data import Utterance

Estimate = Callable[[int], int | None]
"""Bytes for so many samples; None where nobody knows."""


def estimate_of(upstream: object) -> Estimate:
    """What an upstream says that it takes; one that does not say is trusted."""
    found: Estimate = getattr(upstream, "utterance_bytes", lambda n_samples: None)
    return found


def too_long(
    utterances: Sequence[Utterance], *, estimate: Estimate, max_samples: int | None
) -> list[tuple[Utterance, int, int]]:
    """Utterances that do not fit into the memory alone, the longest first, with bytes needed and available.

    Args:
        utterances: Those to be extracted.
        estimate: Of the upstream.
        max_samples: What is heard of each; all of it where it is None.
    """
    needs = [(utterance, _needed(utterance, estimate, max_samples)) for utterance in utterances]
    available = memory.available_bytes() if any(needed for _, needed in needs) else None
    if available is None:
        return []
    found = [(utterance, needed, available) for utterance, needed in needs if needed > available]
    return sorted(found, key=lambda one: -one[1])


def refusal(utterance: Utterance, *, needed: int, available: int, upstream: str) -> DataError:
    """The error that names it, and what can be done."""
    return DataError(
        f"utterance {utterance.id!r} ({utterance.path}, {utterance.source}): its {utterance.seconds:.0f} s at once "
        f"need {needed / 1e9:.3g} GB of memory in upstream {upstream!r}, and {available / 1e9:.3g} GB are available. "
        "Cut the recording into shorter ones, leave it out of the manifest, or take a machine with more memory."
    )


def at_once(batches: Sequence[Sequence[Utterance]], most: int, *, estimate: Estimate, max_samples: int | None) -> int:
    """How many of ``batches`` fit into the memory together, at least one and at most ``most``."""
    needed = max((_needed(u, estimate, max_samples) for batch in batches for u in batch), default=0)
    available = memory.available_bytes() if needed else None
    return most if available is None else max(1, min(most, available // needed))


def _needed(utterance: Utterance, estimate: Estimate, max_samples: int | None) -> int:
    n_samples = round((utterance.seconds or 0.0) * SAMPLE_RATE_HZ)
    return estimate(n_samples if max_samples is None else min(n_samples, max_samples)) or 0
