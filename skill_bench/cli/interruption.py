"""How a long command ends that is interrupted: with a word about what stays, and the exit code of its signal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from skill_bench.base.progress import Progress
from skill_bench.base.signals import exit_code, terminable


@contextmanager
def interruptible(progress: Progress, *, kept: str) -> Iterator[None]:
    """Within, Ctrl-C, SIGTERM and SIGHUP end the command; ``kept`` says what is finished and how to go on."""
    try:
        with terminable():
            yield
    except KeyboardInterrupt as interruption:
        progress.note(f"interrupted: {kept}")
        raise typer.Exit(exit_code(interruption)) from None
