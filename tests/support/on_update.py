"""Progress of a training for tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from skill_bench.base.progress import Silent


class OnUpdate(Silent):
    """Calls a function after every update: with its number, the number of updates and what it logged."""

    def __init__(self, call: Callable[[int, int, Mapping[str, float]], None]) -> None:
        self._call = call

    def update(self, training: str, number: int, n_updates: int, log: Mapping[str, float]) -> None:
        self._call(number, n_updates, log)
