"""Options of an evaluation: what is run, and what is planned before it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast, get_args

import typer

from skill_bench.base.places import cache_folder
from skill_bench.base.precision import Precision
from skill_bench.cli.options import bytes_in, names_in, seeds_in

if TYPE_CHECKING:
    from skill_bench.evaluation.plan import Plan, UpstreamRequest

Upstreams = Annotated[
    list[str],
    typer.Option("--upstream", "-u", help="Name in `skill-bench list`, folder, or hf:ORG/MODEL; repeat for several."),
]
Suite = Annotated[
    str,
    typer.Option(help="What to evaluate on: demo needs no data; local, superb, mini and dspspeech20 need --data-root."),
]
Tasks = Annotated[str | None, typer.Option(help="Names of tasks, comma-separated; by default all.")]
ProtocolName = Annotated[str, typer.Option("--protocol", help="strict, or s3prl with its learning rates and quirks.")]
Seeds = Annotated[str, typer.Option(help="How many seeds (3), or which ones (0,1,2).")]
ComputePrecision = Annotated[
    str, typer.Option("--precision", help="Upstreams compute in fp32, bf16 or fp16; a half one is a system of its own.")
]
BatchSeconds = Annotated[
    float | None,
    typer.Option(help="Padded audio in one batch of extraction. [default: what the GPU's memory holds]", min=0.1),
]
CacheLimit = Annotated[str | None, typer.Option(help="Keep at most so much in the cache of features, such as 50GB.")]
Limit = Annotated[int | None, typer.Option(help="Take at most so many utterances of each split.", min=1)]


def plan_of(
    *,
    upstream: Sequence[str],
    ckpt: Path | None,
    suite: str,
    tasks: str | None,
    protocol: str,
    seeds: str,
    limit: int | None,
    out: Path,
    data_root: Path | None,
    suite_file: Path | None,
    cache_dir: Path | None,
    device: str,
    cache_limit: str | None = None,
    precision: str = "fp32",
    batch_seconds: float | None = None,
    profile: Literal["timed", False] = False,
) -> Plan:
    """The evaluation that the options ask for.

    Raises:
        UsageError: an option that cannot be read, or one checkpoint for several upstreams.
    """
    from skill_bench.corpora.load import tasks_of
    from skill_bench.evaluation.plan import Plan

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
    from skill_bench.base.errors import UsageError
    from skill_bench.evaluation.plan import UpstreamRequest

    known = get_args(Precision)
    if precision not in known:
        raise UsageError(f"--precision {precision!r}: expected {', '.join(known[:-1])} or {known[-1]}.")
    if ckpt is not None and len(names) > 1:
        raise UsageError(f"--ckpt belongs to one upstream, found {len(names)}: {', '.join(names)}.")
    return [UpstreamRequest(name=name, ckpt=ckpt, precision=cast(Precision, precision)) for name in names]
