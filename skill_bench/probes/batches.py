"""Which utterances form which batch: endless, seeded, and never dropping anybody."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch


def shuffled(*, n: int, batch_size: int, generator: torch.Generator) -> Iterator[list[int]]:
    """Epoch after epoch in a new order; the last batch of an epoch may be smaller."""
    while True:
        order = torch.randperm(n, generator=generator).tolist()
        yield from (order[i : i + batch_size] for i in range(0, n, batch_size))


def class_balanced(*, labels: Sequence[int], batch_size: int, generator: torch.Generator) -> Iterator[list[int]]:
    """Utterances drawn with replacement so that every class is equally likely (s3prl's KS sampler)."""
    counts = torch.bincount(torch.tensor(labels))
    weights = 1.0 / counts[torch.tensor(labels)].double()
    size = min(batch_size, len(labels))
    while True:
        yield torch.multinomial(weights, size, replacement=True, generator=generator).tolist()


def length_buckets(*, lengths: Sequence[float], batch_size: int, half_above: float | None = None) -> list[list[int]]:
    """A partition into batches of neighbours in length, longest first; the last one may be smaller.

    Args:
        lengths: Of every utterance, in any unit.
        batch_size: Utterances of a batch.
        half_above: Full batches whose longest utterance is longer become two (s3prl ``asr/dataset.py``).
    """
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    buckets = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
    if half_above is None or batch_size < 2:
        return buckets
    half = batch_size // 2
    return [
        part
        for bucket in buckets
        for part in (
            (bucket[:half], bucket[half:])
            if len(bucket) == batch_size and lengths[bucket[0]] > half_above
            else (bucket,)
        )
    ]


def sliding_buckets(
    *,
    target_lengths: Sequence[int],
    lengths: Sequence[float],
    batch_size: int,
    half_above: float | None = None,
) -> list[list[int]]:
    """One window of neighbours for each utterance, so that an epoch repeats most of them (s3prl ``ctc/data.py``).

    Utterances are ordered by the length of their target, longest first; windows that would reach beyond the last one
    are moved back.

    Args:
        target_lengths: Tokens of every utterance's target.
        lengths: Of every utterance, in any unit.
        batch_size: Utterances of a window.
        half_above: Of a window whose first utterance is longer, only the first half is used.
    """
    order = sorted(range(len(lengths)), key=lambda i: (-target_lengths[i], i))
    last = max(0, len(order) - batch_size)
    windows = [order[start : start + batch_size] for start in (min(i, last) for i in range(len(order)))]
    if half_above is None or batch_size < 2:
        return windows
    return [w[: batch_size // 2] if lengths[w[0]] > half_above else w for w in windows]
