"""Making things before they are asked for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
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
