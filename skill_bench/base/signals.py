"""SIGTERM and SIGHUP end a command as Ctrl-C does: at once, or where the one who is interrupted says.

Batch systems send SIGTERM some seconds before they kill, terminals send SIGHUP when they are closed.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]  # no SIGHUP on Windows


class Terminated(KeyboardInterrupt):
    """Asked to end; ``number`` is the signal's. No error: what stops for Ctrl-C stops for it too."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(f"signal {number}")


def exit_code(interruption: KeyboardInterrupt) -> int:
    """128 + the signal's number, as shells have it: 143 for SIGTERM, 129 for SIGHUP, 130 for Ctrl-C."""
    return 128 + (interruption.number if isinstance(interruption, Terminated) else signal.SIGINT)


@contextmanager
def terminable() -> Iterator[None]:
    """Within, a signal raises :class:`Terminated` wherever the main thread is."""

    def stop(number: int, _: FrameType | None) -> None:
        raise Terminated(number)

    with _handled_by(stop):
        yield


class Noted:
    """The signal that came, if one did."""

    number: int | None = None

    def stop(self) -> None:
        """Ends what was asked to end.

        Raises:
            Terminated: always; for SIGTERM where only another process was asked.
        """
        raise Terminated(self.number or signal.SIGTERM)


@contextmanager
def noted() -> Iterator[Noted]:
    """Within, a signal is only noted: whoever is interrupted looks, and stops where nothing is lost.

    Raises:
        Terminated: at the end, where nobody has looked since it came.
    """
    found = Noted()

    def note(number: int, _: FrameType | None) -> None:
        found.number = number

    with _handled_by(note):
        yield found
    if found.number is not None:
        found.stop()


@contextmanager
def _handled_by(handler: Callable[[int, FrameType | None], Any]) -> Iterator[None]:
    """Only the main thread may handle signals; one that is ignored (``nohup``) stays ignored."""
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in _SIGNALS:
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                before[number] = signal.signal(number, handler)
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
