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


def length_buckets(*, lengths: Sequence[int], batch_size: int) -> list[list[int]]:
    """A partition into batches of neighbours in length, longest first; the last one may be smaller."""
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    return [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
