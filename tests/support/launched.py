"""Commands and functions in processes of their own that share one start, forked from a server that has loaded much."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.context import ForkServerProcess

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["skill_bench.cli.main", "skill_bench.distillation.distill"])


def start(command: Sequence[str], *, variables: Mapping[str, str] | None = None) -> ForkServerProcess:
    """``skill-bench COMMAND`` in as many threads as are used here; with further environment variables, in one."""
    import torch

    # Several processes that had more threads than cores would wait for each other.
    n_threads = 1 if variables else torch.get_num_threads()
    process = _CONTEXT.Process(target=_run, args=(list(command), dict(variables or {}), n_threads))
    process.start()
    return process


def call(function: Callable[..., object], *given: object, **named: object) -> ForkServerProcess:
    """``function``, in one thread, with the environment as it is now: the server has that of its own start."""
    process = _CONTEXT.Process(target=_call, args=(function, given, named, dict(os.environ)))
    process.start()
    return process


def _call(
    function: Callable[..., object], given: Sequence[object], named: Mapping[str, object], variables: Mapping[str, str]
) -> None:
    os.environ.clear()
    os.environ.update(variables)
    import torch

    torch.set_num_threads(1)
    function(*given, **named)


def _run(command: list[str], variables: dict[str, str], n_threads: int) -> None:
    os.environ.update(variables)
    import torch

    torch.set_num_threads(n_threads)
    from skill_bench.cli.main import app

    app(command)
