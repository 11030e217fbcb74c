"""Signals in this process, sent by itself."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from skill_bench.base.signals import Terminated, exit_code, noted, terminable

SIGNALS = [(signal.SIGTERM, 143), (signal.SIGHUP, 129)]


def send(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.fixture(autouse=True)
def reached() -> Iterator[list[int]]:
    """What reached the handlers that were there before; afterwards those of pytest are back."""
    found: list[int] = []
    before = {number: signal.signal(number, lambda n, _: found.append(n)) for number, _ in SIGNALS}
    yield found
    for number, earlier in before.items():
        signal.signal(number, earlier)


@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_it_interrupts_as_ctrl_c_does(number: int, code: int, reached: list[int]) -> None:
    with pytest.raises(KeyboardInterrupt) as ended, terminable():
        send(number)
    assert exit_code(ended.value) == code
    send(number)
    assert reached == [number], "handlers are as before"


def test_ctrl_c_has_the_code_that_shells_give_it() -> None:
    assert exit_code(KeyboardInterrupt()) == 130


@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_who_notes_it_stops_where_nothing_is_lost(number: int, code: int, reached: list[int]) -> None:
    seen: list[int | None] = []

    def work() -> None:
        with terminable(), noted() as signals:
            seen.append(signals.number)
            send(number)
            seen.append(signals.number)
            signals.stop()

    with pytest.raises(Terminated) as ended:
        work()
    assert (seen, exit_code(ended.value), reached) == ([None, number], code, [])


def test_what_nobody_looked_at_is_not_lost() -> None:
    with pytest.raises(Terminated) as ended, noted():
        send(signal.SIGHUP)
    assert ended.value.number == signal.SIGHUP


def test_another_error_is_not_hidden() -> None:
    def work() -> None:
        with noted():
            send(signal.SIGTERM)
            raise ValueError("loss")

    with pytest.raises(ValueError, match="loss"):
        work()


def test_nohup_is_kept() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with terminable(), noted() as signals:
        send(signal.SIGHUP)
        assert signals.number is None
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_other_threads_leave_handlers_alone(reached: list[int]) -> None:
    found: list[int | None] = []

    def work() -> None:
        with terminable(), noted() as signals:
            send(signal.SIGTERM)
            found.append(signals.number)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert (found, reached) == ([None], [signal.SIGTERM])
