"""Options of an evaluation: what is run, and what is planned before it.

And of commands whose work can go to jobs; one set for all of them. An option is an annotated parameter of the function
that makes something of it.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, cast, get_args, get_origin

import typer

from skill_bench.base.catalog import DEFAULT_SUITE, suites
from skill_bench.base.errors import UsageError
from skill_bench.base.places import cache_folder
from skill_bench.base.specs import Precision
from skill_bench.cli.options import (
    CacheDir,
    Checkpoint,
    DataRoot,
    Device,
    OutDir,
    SuiteFile,
    bytes_in,
    names_in,
    seeds_in,
    usable_device,
)
from skill_bench.cli.paths import there
from skill_bench.evaluation.plan import Plan, UpstreamRequest
from skill_bench.launch.options import LaunchOptions, read_options

_WITH_DATA = ", ".join(sorted({*suites()} - {DEFAULT_SUITE}))
Asked = Callable[..., Plan]
"""Makes the plan of the options; what else `plan_of` takes can be given."""


def plan_of(
    *,
    upstream: Annotated[
        list[str],
        typer.Option(
            "--upstream", "-u", help="Name in `skill-bench list`, folder, or hf:ORG/MODEL; repeat for several."
        ),
    ],
    ckpt: Checkpoint = None,
    suite: Annotated[
        str,
        typer.Option(help=f"What to evaluate on: {DEFAULT_SUITE} needs no data; {_WITH_DATA} need --data-root."),
    ] = DEFAULT_SUITE,
    tasks: Annotated[str | None, typer.Option(help="Names of tasks, comma-separated; by default all.")] = None,
    protocol: Annotated[str, typer.Option(help="strict, or s3prl with its learning rates and quirks.")] = "strict",
    seeds: Annotated[str, typer.Option(help="How many seeds (3), or which ones (0,1,2).")] = "1",
    limit: Annotated[int | None, typer.Option(help="Take at most so many utterances of each split.", min=1)] = None,
    out: OutDir = Path("results"),
    data_root: DataRoot = None,
    suite_file: SuiteFile = None,
    cache_dir: CacheDir = None,
    cache_limit: Annotated[
        str | None, typer.Option(help="Keep at most so much in the cache of features, such as 50GB.")
    ] = None,
    device: Device = "cpu",
    precision: Annotated[
        str, typer.Option(help="Upstreams compute in fp32, bf16 or fp16; a half one is a system of its own.")
    ] = "fp32",
    batch_seconds: Annotated[
        float | None,
        typer.Option(help="Padded audio in one batch of extraction. [default: what the GPU's memory holds]", min=0.1),
    ] = None,
    profile: Literal["timed", False] = False,
) -> Plan:
    """The evaluation that the options ask for.

    Raises:
        UsageError: an option that cannot be read, or one checkpoint for several upstreams.
    """
    from skill_bench.corpora.load import tasks_of

    return Plan(
        upstreams=_requests(upstream, ckpt, precision),
        suite=suite,
        protocol=protocol,
        tasks=names_in(tasks) or tasks_of(suite, data_root=data_root, suite_file=suite_file),
        seeds=seeds_in(seeds),
        out_dir=out,
        cache_dir=cache_folder(cache_dir),
        cache_limit_bytes=None if cache_limit is None else bytes_in(cache_limit, option="--cache-limit"),
        data_root=data_root,
        suite_file=suite_file,
        limit=limit,
        device=device,
        batch_seconds=batch_seconds,
        profile=profile,
    )


def _requests(names: Sequence[str], ckpt: Path | None, precision: str) -> list[UpstreamRequest]:
    """The upstreams that were asked for; whether there are such is for the evaluation to say."""
    known = get_args(Precision)
    if precision not in known:
        raise UsageError(f"--precision {precision!r}: expected {', '.join(known[:-1])} or {known[-1]}.")
    if ckpt is not None and len(names) > 1:
        raise UsageError(f"--ckpt belongs to one upstream, found {len(names)}: {', '.join(names)}.")
    return [UpstreamRequest(name=name, ckpt=ckpt, precision=cast(Precision, precision)) for name in names]


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


def _launch_of(
    *,
    devices: Annotated[
        str | None,
        typer.Option(help="One process a device that share the cells: cuda:0,cuda:1, all (GPUs), or cpu,cpu."),
    ] = None,
    launcher: Annotated[
        str | None, typer.Option(help="Run in jobs: slurm, or local (processes of this machine).")
    ] = None,
    launch_file: Annotated[
        Path | None,
        typer.Option(help="TOML with these options, and more of SLURM; the command line comes first.", callback=there),
    ] = None,
    max_jobs: Annotated[int | None, typer.Option(help="Jobs at a time. [default: 2]")] = None,
    gpus_per_job: Annotated[int | None, typer.Option(help="With any, jobs compute there. [default: 0]")] = None,
    cpus_per_job: Annotated[int | None, typer.Option(help="Cores of a job.")] = None,
    memory: Annotated[str | None, typer.Option(help="Of a job, such as 32GB; SLURM.")] = None,
    time: Annotated[
        str | None,
        typer.Option(help="Of a job, such as 4h; started again if it takes longer. [default: 4h on SLURM]"),
    ] = None,
    partition: Annotated[str | None, typer.Option(help="SLURM's.")] = None,
    cpu_partition: Annotated[
        str | None, typer.Option(help="For probes that need no GPU, once their features are extracted on one; SLURM.")
    ] = None,
    on_interrupt: Annotated[
        str | None, typer.Option(help="What Ctrl-C does to jobs: leave or cancel. [default: leave]")
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Submit the jobs and return.")] = False,
) -> LaunchOptions | None:
    """Where the options send the work; None where there is no launcher."""
    given = locals()  # every option by its name
    file = given.pop("launch_file")
    return read_options(given | {"devices": _devices(devices), "detach": detach or None}, file=file)


def launchable(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the options of jobs to a command, which gets them together as ``launch``; None without a launcher."""
    return together(command, "launch", _launch_of, _launch_of)


def planned(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the options of an evaluation to a command, which gets them as ``asked``."""
    return together(command, "asked", plan_of, lambda **given: functools.partial(plan_of, **given))


def together(
    command: Callable[..., None], name: str, declared: Callable[..., Any], read: Callable[..., Any]
) -> Callable[..., None]:
    """The command with the options that ``declared`` has, in place of its parameter ``name``; ``read`` makes that."""
    own = inspect.signature(command, eval_str=True).parameters.values()
    declares = inspect.signature(declared, eval_str=True).parameters.values()
    added = [parameter for parameter in declares if get_origin(parameter.annotation) is Annotated]

    @functools.wraps(command)
    def with_options(**given: Any) -> None:
        taken = {option.name: given.pop(option.name) for option in added}
        command(**given, **{name: read(**taken)})

    parameters = [
        one.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for parameter in own
        for one in (added if parameter.name == name else [parameter])
    ]
    with_options.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    with_options.__annotations__ = {one.name: one.annotation for one in parameters}
    return with_options
