"""Options of commands whose work can go to jobs; one set for all of them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from skill_bench.base.errors import UsageError
from skill_bench.cli.options import names_in, usable_device
from skill_bench.cli.paths import there
from skill_bench.launch.options import LaunchOptions, read_options


def _devices(text: str | None) -> tuple[str, ...] | None:
    """``"cuda:0,cuda:1"``, or ``"all"`` GPUs.

    Raises:
        UsageError: devices that torch cannot use here.
    """
    if text != "all":
        names = names_in(text)
        return None if names is None else tuple(usable_device(name, option="--devices") for name in names)
    import torch

    if not (n_gpus := torch.cuda.device_count()):
        raise UsageError("--devices all: torch can use no GPU here. Give --devices cpu,cpu for two processes.")
    return tuple(f"cuda:{number}" for number in range(n_gpus))


_OPTIONS: dict[str, Any] = {
    "devices": Annotated[
        str | None,
        typer.Option(help="One process a device that share the cells: cuda:0,cuda:1, all (GPUs), or cpu,cpu."),
    ],
    "launcher": Annotated[str | None, typer.Option(help="Run in jobs: slurm, or local (processes of this machine).")],
    "launch_file": Annotated[
        Path | None,
        typer.Option(help="TOML with these options, and more of SLURM; the command line comes first.", callback=there),
    ],
    "max_jobs": Annotated[int | None, typer.Option(help="Jobs at a time. [default: 2]")],
    "gpus_per_job": Annotated[int | None, typer.Option(help="With any, jobs compute there. [default: 0]")],
    "cpus_per_job": Annotated[int | None, typer.Option(help="Cores of a job.")],
    "memory": Annotated[str | None, typer.Option(help="Of a job, such as 32GB; SLURM.")],
    "time": Annotated[
        str | None,
        typer.Option(help="Of a job, such as 4h; started again if it takes longer. [default: 4h on SLURM]"),
    ],
    "partition": Annotated[str | None, typer.Option(help="SLURM's.")],
    "cpu_partition": Annotated[
        str | None, typer.Option(help="For probes that need no GPU, once their features are extracted on one; SLURM.")
    ],
    "on_interrupt": Annotated[
        str | None, typer.Option(help="What Ctrl-C does to jobs: leave or cancel. [default: leave]")
    ],
    "detach": Annotated[bool, typer.Option("--detach", help="Submit the jobs and return.")],
}


def launchable(command: Callable[..., None]) -> Callable[..., None]:
    """Adds these options to a command, which gets them together as ``launch``: None where there is no launcher."""
    own = inspect.signature(command, eval_str=True)

    @functools.wraps(command)
    def with_options(**given: Any) -> None:
        options = {name: given.pop(name) for name in _OPTIONS}
        command(**given, launch=_read(**options))

    added = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=False if name == "detach" else None, annotation=annotation
        )
        for name, annotation in _OPTIONS.items()
    ]
    parameters = [one for one in own.parameters.values() if one.name != "launch"] + added
    with_options.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    with_options.__annotations__ = {one.name: one.annotation for one in parameters}
    return with_options


def _read(*, launch_file: Path | None, detach: bool, devices: str | None, **given: Any) -> LaunchOptions | None:
    return read_options({**given, "devices": _devices(devices), "detach": detach or None}, file=launch_file)
