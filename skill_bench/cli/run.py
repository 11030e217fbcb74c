"""``skill-bench run``: evaluate an upstream and show it beside the bundled systems."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from skill_bench.base.cache_folder import cache_folder
from skill_bench.cli.options import CacheDir, Checkpoint, Device, OutDir, bytes_in, names_in, seeds_in

if TYPE_CHECKING:
    from skill_bench.evaluation.plan import UpstreamRequest

Upstreams = Annotated[
    list[str],
    typer.Option("--upstream", "-u", help="Name in `skill-bench list`, folder, or hf:ORG/MODEL; repeat for several."),
]


def run(
    upstream: Upstreams,
    ckpt: Checkpoint = None,
    suite: Annotated[str, typer.Option(help="demo (no data needed); with --data-root: local, superb, mini.")] = "demo",
    tasks: Annotated[str | None, typer.Option(help="Comma-separated; all by default.")] = None,
    protocol: Annotated[str, typer.Option(help="strict, or s3prl: its learning rates and quirks.")] = "strict",
    seeds: Annotated[str, typer.Option(help="How many (3) or which ones (0,1,2).")] = "1",
    limit: Annotated[int | None, typer.Option(help="At most so many utterances of each split.", min=1)] = None,
    out: OutDir = Path("results"),
    data_root: Annotated[Path | None, typer.Option(help="Folder of the suite's corpora.")] = None,
    suite_file: Annotated[Path | None, typer.Option(help="suite.toml, if it is not in --data-root.")] = None,
    cache_dir: CacheDir = None,
    cache_limit: Annotated[
        str | None, typer.Option(help="Keep at most so much in the cache of features, such as 50GB.")
    ] = None,
    device: Device = "cpu",
    profile: Annotated[bool, typer.Option(help="Also measure parameters, MACs, throughput and memory.")] = True,
) -> None:
    """Evaluate upstreams on the tasks of a suite.

    Interrupt it whenever you like: finished cells are kept, and the same command continues.
    """
    from skill_bench.base.errors import SkillBenchError
    from skill_bench.cli.console import ConsoleProgress
    from skill_bench.corpora.load import tasks_of
    from skill_bench.evaluation.evaluate import evaluate
    from skill_bench.evaluation.plan import Plan
    from skill_bench.report.render.run_table import show

    plan = Plan(
        upstreams=requests(upstream, ckpt),
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
        profile="timed" if profile else False,
    )
    with ConsoleProgress() as progress:
        try:
            outcome = evaluate(plan, progress=progress)
        except KeyboardInterrupt:
            progress.note(f"interrupted: finished cells are in {out}; the same command continues with the others")
            raise typer.Exit(130) from None
    show(out, suite=suite, tasks=plan.tasks)
    typer.echo(f"{len(outcome.records)} cells in {out}, {outcome.n_skipped} of them finished before.")
    if outcome.failures:
        failed = "\n".join(
            f"  {f.upstream} {f.task or '(not loaded)'} {'' if f.seed is None else f'seed {f.seed}'}: {f.error}"
            for f in outcome.failures
        )
        raise SkillBenchError(f"{len(outcome.failures)} cells failed:\n{failed}")


def requests(names: Sequence[str], ckpt: Path | None) -> list[UpstreamRequest]:
    """The upstreams that were asked for; an unknown one is found before any speech is read or made.

    Raises:
        UsageError: one checkpoint for several upstreams.
        UnknownName: no upstream of that name.
    """
    from skill_bench.base import catalog
    from skill_bench.base.errors import UsageError
    from skill_bench.evaluation.plan import UpstreamRequest

    if ckpt is not None and len(names) > 1:
        raise UsageError(f"--ckpt belongs to one upstream, found {len(names)}: {', '.join(names)}.")
    for name in names:
        if not name.startswith("hf:"):
            catalog.upstream(name)
    return [UpstreamRequest(name=name, ckpt=ckpt) for name in names]
