"""Progress on a terminal: bars with an ETA; lines when the output is a file."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from skill_bench.base.progress import Advance

_LINE_EVERY_SECONDS = 30.0
_SHOWN = ("loss", "sparsity", "sparsity_target", "learning_rate")


class ConsoleProgress:
    """Shows stages as bars on a terminal; elsewhere as a line when each ends."""

    def __init__(self, console: Console | None = None, *, quiet: bool = False) -> None:
        self.console = console or Console(stderr=True, quiet=quiet)
        self._trainings: dict[str, _Training] = {}
        self._opened = time.monotonic()
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("ETA"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[shown]}"),
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
        bar, started = self._bars.add_task(description, total=total, shown=""), time.monotonic()

        def advance(n: int) -> None:
            self._bars.advance(bar, n)

        try:
            yield advance
        finally:
            self._bars.remove_task(bar)
        self.note(f"{description}: {total} in {time.monotonic() - started:.1f} s")

    def note(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False)

    def update(self, training: str, number: int, n_updates: int, log: Mapping[str, float]) -> None:
        if training not in self._trainings:
            self._trainings[training] = _Training(self, training, self._bars, since=self._opened)
        self._trainings[training].show(number, n_updates, log)


class _Training:
    """Shows one stage of a training: a bar with what matters of its log on a terminal, else a line each half minute."""

    def __init__(self, progress: ConsoleProgress, name: str, bars: Bars, *, since: float) -> None:
        self._progress, self._name, self._bars = progress, name, bars
        self._bar = bars.add_task(name, total=None, shown="")
        self._begun: tuple[int, float] | None = None
        self._told = since

    def show(self, update: int, n_updates: int, log: Mapping[str, float]) -> None:
        now = time.monotonic()
        if self._begun is None:
            self._begun = update, now
            self._bars.reset(self._bar, total=n_updates, completed=update)
            if update > 1:
                self._progress.note(f"{self._name}: continues after update {update - 1} of {n_updates}")
        shown = " ".join(f"{key}={log[key]:.3g}" for key in _SHOWN if key in log)
        self._bars.update(self._bar, completed=update, shown=shown, visible=update < n_updates)
        due = now - self._told > _LINE_EVERY_SECONDS or update == n_updates
        if not self._progress.console.is_terminal and due:
            self._told = now
            first, since = self._begun
            # The first update's own time is not known: it may have waited for the audio check.
            each = (now - since) / (update - first) if update > first else None
            eta = "" if each is None else f" ETA {each * (n_updates - update):.0f} s"
            self._progress.note(f"{self._name} {update}/{n_updates} {shown}{eta}")
