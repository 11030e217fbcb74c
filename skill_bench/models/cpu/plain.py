"""A switch: compute a model as it is written down, to count its multiply-adds or to compare the fast paths with it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_PLAIN: ContextVar[bool] = ContextVar("plain", default=False)


@contextmanager
def plain_path() -> Iterator[None]:
    """Within, no fast path applies."""
    token = _PLAIN.set(True)
    try:
        yield
    finally:
        _PLAIN.reset(token)


def is_plain() -> bool:
    """Whether `plain_path` is in force."""
    return _PLAIN.get()
