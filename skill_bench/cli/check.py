"""``skill-bench check``: the guard of a model in continuous integration."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from skill_bench.base.places import cache_folder
from skill_bench.cli.options import CacheDir, Checkpoint, DataRoot, Device, SuiteFile, names_in, seeds_in
from skill_bench.cli.paths import file_to_write, require_folder


def check(
    against: Annotated[Path, typer.Option(help="Folder of the baseline (--update makes it), or an archive of it.")],
    upstream: Annotated[str | None, typer.Option("--upstream", "-u", help="The baseline's by default.")] = None,
    ckpt: Checkpoint = None,
    suite: Annotated[str | None, typer.Option(help="The baseline's by default; demo for a new one.")] = None,
    tasks: Annotated[str | None, typer.Option(help="Comma-separated; the baseline's by default.")] = None,
    seeds: Annotated[
        str, typer.Option(help="With --update: how many or which; several show what a seed changes.")
    ] = "3",
    limit: Annotated[int | None, typer.Option(help="With --update: utterances of each split.", min=1)] = None,
    level: Annotated[float, typer.Option(help="Probability of a false alarm; 0: no test.", min=0, max=0.5)] = 0.05,
    margin: Annotated[float | None, typer.Option(help="Also fail if worse by more points than this.", min=0)] = None,
    throughput_loss: Annotated[
        float, typer.Option(help="Share of relative speed that may be lost.", min=0, max=1)
    ] = 0.3,
    timed: Annotated[bool, typer.Option(help="Also time it against a reference model.")] = True,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML here.", callback=file_to_write)] = None,
    markdown: Annotated[
        Path | None, typer.Option(help="Append a Markdown summary here.", callback=file_to_write)
    ] = None,
    update: Annotated[bool, typer.Option("--update", help="Make a new baseline instead; needs --reason.")] = False,
    reason: Annotated[str, typer.Option(help="Why the numbers may change; kept in the baseline.")] = "",
    data_root: DataRoot = None,
    suite_file: SuiteFile = None,
    cache_dir: CacheDir = None,
    device: Device = "cpu",
) -> None:
    """Run a small subset again, and fail if the model is worse than its baseline, larger, or slower."""
    from skill_bench.cli.console import ConsoleProgress
    from skill_bench.guard import rerun
    from skill_bench.guard.baseline import require_settings, settings_of
    from skill_bench.guard.findings import require_passed, to_markdown, write_report
    from skill_bench.guard.judge import Rules

    place = rerun.RerunOptions(
        cache_dir=cache_folder(cache_dir),
        ckpt=ckpt,
        data_root=data_root,
        suite_file=suite_file,
        device=device,
        timed=timed,
    )
    chosen = tuple(names_in(tasks) or ())
    if update:
        require_folder(against, option="--against")
        settings = settings_of(
            against, upstream=upstream, suite=suite, tasks=chosen, seeds=tuple(seeds_in(seeds)), limit=limit
        )
        with ConsoleProgress() as progress:
            made = rerun.update(against, settings, reason=reason, place=place, progress=progress)
        typer.echo(f"baseline of {settings.upstream} on {settings.suite} in {against}: {made.reason}")
        return
    require_settings(against, suite=suite, limit=limit)
    rules = Rules(level=level, margin_points=margin, throughput_loss=throughput_loss)
    with ConsoleProgress() as progress:
        report = rerun.compare(
            against, place=place, rules=rules, upstream=upstream, tasks=chosen or None, progress=progress
        )
    typer.echo(to_markdown(report))
    write_report(report, junit=junit, markdown=markdown)
    require_passed(report)
