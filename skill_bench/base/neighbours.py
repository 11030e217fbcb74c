"""Neighbours in an order, put together as long as they fit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

Item = TypeVar("Item")


def neighbours(items: Iterable[Item], *, fits: Callable[[Sequence[Item], Item], bool]) -> Iterator[list[Item]]:
    """``items`` in their order as batches, none of them empty.

    Args:
        items: In the order of their lengths, so that a batch holds similar ones.
        fits: Whether a batch, which holds at least one item, may also take the next one.
    """
    batch: list[Item] = []
    for item in items:
        if batch and not fits(batch, item):
            yield batch
            batch = []
        batch.append(item)
    if batch:
        yield batch
