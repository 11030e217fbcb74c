"""Progress on a terminal: bars with an ETA; lines when the output is a file."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from skill_bench.progress import Advance

_LINE_EVERY_SECONDS = 30.0


class ConsoleProgress:
    """Shows stages as bars on a terminal; elsewhere as a line when each ends."""

    def __init__(self, console: Console | None = None, *, quiet: bool = False) -> None:
        self.console = console or Console(stderr=True, quiet=quiet)
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("ETA"),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )

    def __enter__(self) -> ConsoleProgress:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    @contextmanager
    def stage(self, description: str, *, total: int) -> Iterator[Advance]:
        bar, started = self._bars.add_task(description, total=total), time.monotonic()

        def advance(n: int) -> None:
            self._bars.advance(bar, n)

        try:
            yield advance
        finally:
            self._bars.remove_task(bar)
        self.note(f"{description}: {total} in {time.monotonic() - started:.1f} s")

    def note(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False)


class TrainingProgress:
    """Shows a training stage: a bar with its losses on a terminal, else a line every half minute."""

    def __init__(self, progress: ConsoleProgress, name: str) -> None:
        self._progress, self._name = progress, name
        self._started = self._shown = time.monotonic()
        self._bar = progress._bars.add_task(name, total=None)
        self._last = 0

    def __call__(self, update: int, n_updates: int, log: Mapping[str, float]) -> None:
        if update <= self._last:  # the next stage of the same run
            self._started = time.monotonic()
        self._last = update
        shown = " ".join(f"{key}={value:.3g}" for key, value in log.items() if key not in ("update", "seconds"))
        self._progress._bars.update(self._bar, completed=update, total=n_updates, description=f"{self._name} {shown}")
        now = time.monotonic()
        if not self._progress.console.is_terminal and (now - self._shown > _LINE_EVERY_SECONDS or update == n_updates):
            self._shown = now
            remaining = (now - self._started) / update * (n_updates - update)
            self._progress.note(f"{self._name} {update}/{n_updates} {shown} ETA {remaining:.0f} s")
