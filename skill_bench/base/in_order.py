"""Items in their order: made before they are asked for, or neighbours put together as long as they fit."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from typing import TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")


def ahead(pool: Executor, make: Callable[[Item], Made], items: Iterable[Item], *, n: int) -> Iterator[Made]:
    """``make`` of every item, in order, by ``pool``; ``n`` of them are made, or being made, before they are asked for.

    Items are taken by the caller's thread.
    """
    waiting: deque[Future[Made]] = deque()
    for item in items:
        waiting.append(pool.submit(make, item))
        if len(waiting) > n:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


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
