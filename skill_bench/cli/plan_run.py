"""``skill-bench plan run``: hours, disk and memory of an evaluation, before it is started."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from skill_bench.base.cache_folder import cache_folder
from skill_bench.base.suites import DEFAULT_SUITE
from skill_bench.cli.options import CacheDir, Checkpoint, Device, OutDir, names_in, seeds_in
from skill_bench.cli.run import Upstreams, requests

if TYPE_CHECKING:
    from skill_bench.evaluation.forecast import Forecast
    from skill_bench.records.profile import Band


def plan_run(
    upstream: Upstreams,
    ckpt: Checkpoint = None,
    suite: Annotated[str, typer.Option(help="As for `skill-bench run`.")] = DEFAULT_SUITE,
    tasks: Annotated[str | None, typer.Option(help="Comma-separated; all by default.")] = None,
    protocol: Annotated[str, typer.Option(help="strict, or s3prl.")] = "strict",
    seeds: Annotated[str, typer.Option(help="How many (3) or which ones (0,1,2).")] = "1",
    limit: Annotated[int | None, typer.Option(help="At most so many utterances of each split.", min=1)] = None,
    out: OutDir = Path("results"),
    data_root: Annotated[Path | None, typer.Option(help="Folder of the suite's corpora.")] = None,
    suite_file: Annotated[Path | None, typer.Option(help="suite.toml, if it is not in --data-root.")] = None,
    cache_dir: CacheDir = None,
    device: Device = "cpu",
) -> None:
    """Probe this machine and say what a run takes; its records will hold forecast and truth.

    Give the options of the run. Features that are in the cache already cost nothing; what the probe extracts stays.
    """
    from skill_bench.cli.console import ConsoleProgress
    from skill_bench.corpora.load import tasks_of
    from skill_bench.evaluation.evaluate import forecast
    from skill_bench.evaluation.plan import Plan

    plan = Plan(
        upstreams=requests(upstream, ckpt),
        suite=suite,
        protocol=protocol,
        tasks=names_in(tasks) or tasks_of(suite, data_root=data_root, suite_file=suite_file),
        seeds=seeds_in(seeds),
        out_dir=out,
        cache_dir=cache_folder(cache_dir),
        data_root=data_root,
        suite_file=suite_file,
        limit=limit,
        device=device,
    )
    with ConsoleProgress() as progress:
        found = forecast(plan, progress=progress)
    for one in found:
        for line in lines(one):
            typer.echo(line)


def lines(found: Forecast) -> list[str]:
    """The forecast as text, one line a task."""
    shown = [f"{found.upstream} on {found.suite}, {len(found.seeds)} seeds; minutes [least, most]"]
    for task in found.tasks:
        shown.append(
            f"  {task.task:<6} extraction {_band(task.features_seconds, 60)} of "
            f"{task.missing_audio_seconds / 3600:.2f} h of audio, training {_band(task.training_seconds, 60)}"
        )
    disk = sum(task.disk_bytes for task in found.tasks)
    return [
        *shown,
        f"  hours {_band(found.seconds, 3600, digits=2)}, disk {disk / 1e9:.2f} GB, "
        f"peak memory {_band(found.peak_memory_bytes, 1e9)} GB",
    ]


def _band(band: Band, unit: float, *, digits: int = 1) -> str:
    low, estimate, high = (f"{value / unit:.{digits}f}" for value in (band.low, band.estimate, band.high))
    return f"{estimate} [{low}, {high}]"
