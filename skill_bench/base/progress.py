"""How long work reports where it is; the command line shows it, a test records it, the default is silent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

Advance = Callable[[int], None]


class Progress(Protocol):
    """Receives stages of known size; an ETA follows from ``total`` and the calls of ``advance``."""

    def stage(self, description: str, *, total: int) -> AbstractContextManager[Advance]:
        """Opens a stage of ``total`` units; the yielded function reports that so many more are done."""
        ...

    def note(self, text: str) -> None:
        """Shows one line that should stay visible."""
        ...

    def update(self, training: str, number: int, n_updates: int, log: Mapping[str, float]) -> None:
        """Told after every update of a training's stage: its ``number`` of ``n_updates``, from 1, and what it logged.

        Args:
            training: Which training, and which of its stages.
        """
        ...


class Silent:
    """Reports nothing."""

    def stage(self, description: str, *, total: int) -> AbstractContextManager[Advance]:
        return nullcontext(lambda n: None)

    def note(self, text: str) -> None:
        return None

    def update(self, training: str, number: int, n_updates: int, log: Mapping[str, float]) -> None:
        return None
