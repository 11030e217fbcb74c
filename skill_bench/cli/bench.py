"""``skill-bench bench``: how fast extraction and training are here, against others and against the machine's floor."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from skill_bench.speed.contest import Candidates


def bench(
    batch_size: Annotated[int, typer.Option(help="Utterances in one batch of extraction.", min=1)] = 4,
    utterance_seconds: Annotated[float, typer.Option(help="Length of each.", min=0.1)] = 10.0,
    rounds: Annotated[int, typer.Option(help="Timed rounds, after one that warms up.", min=1)] = 5,
    threads: Annotated[int | None, typer.Option(help="CPU threads; torch's choice by default.", min=1)] = None,
    only: Annotated[str | None, typer.Option(help="Some of teacher,student,distillation,grid,cache.")] = None,
    out: Annotated[Path | None, typer.Option(help="Also write all numbers to this JSON file.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Also write the page to this file.")] = None,
) -> None:
    """Measure the speed of this machine's skill-bench; about five minutes on two cores."""
    import torch

    from skill_bench import provenance
    from skill_bench.cli.console import ConsoleProgress
    from skill_bench.cli.options import names_in
    from skill_bench.errors import SkillBenchError, UnknownName
    from skill_bench.schema import write_atomic
    from skill_bench.speed import encoders, figures, training
    from skill_bench.speed.contest import hold

    size = {"batch_size": batch_size, "utterance_seconds": utterance_seconds}
    known: dict[str, Callable[[], Candidates]] = {
        "teacher": lambda: encoders.teacher(**size),  # type: ignore[arg-type]
        "student": lambda: encoders.student(**size),  # type: ignore[arg-type]
        "distillation": training.distillation,
        "grid": training.grid,
        "cache": training.upstream_every_step,
    }
    wanted = names_in(only) or list(known)
    for name in wanted:
        if name not in known:
            raise UnknownName("contest", name, known)
    if threads is not None:
        torch.set_num_threads(threads)
    started_at, load = provenance.now(), os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    contests, reasons = [], {}
    with ConsoleProgress() as progress:
        for name in wanted:
            try:
                contests.append(hold(known[name](), rounds=rounds, progress=progress))
            except SkillBenchError as error:
                reasons[name] = str(error)
    speed = figures.Speed(
        contests=tuple(contests),
        reasons=reasons,
        load_average=load,
        provenance=provenance.collect(started_at=started_at),
    )
    page = figures.markdown(speed)
    typer.echo(page)
    if out is not None:
        speed.write(out)
    if markdown is not None:
        write_atomic(markdown, page.encode())
