"""``skill-bench bench``: how fast extraction and training are here, against others and against the machine's floor."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Annotated

import typer

from skill_bench.base import catalog
from skill_bench.cli.options import CacheDir
from skill_bench.cli.paths import file_to_write


def bench(
    batch_size: Annotated[int, typer.Option(help="Utterances in one batch of extraction.", min=1)] = 4,
    utterance_seconds: Annotated[float, typer.Option(help="Length of each utterance in seconds.", min=0.1)] = 10.0,
    rounds: Annotated[int, typer.Option(help="Timed rounds, after one that warms up.", min=1)] = 3,
    threads: Annotated[int | None, typer.Option(help="CPU threads; torch's choice by default.", min=1)] = None,
    only: Annotated[str | None, typer.Option(help="Some items, as teacher,scale; the others stay as they are.")] = None,
    data_root: Annotated[
        Path | None, typer.Option(help="Recorded speech (suite local) for the comparison with s3prl; else demo speech.")
    ] = None,
    hours: Annotated[str, typer.Option(help="Hours of speech that scale extracts, one run each.")] = "0.1,1,3",
    cache_dir: CacheDir = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="All numbers as JSON; default: beside --markdown. Finished items stay in it.", callback=file_to_write
        ),
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option(help="Also write the page to this file.", callback=file_to_write)
    ] = None,
) -> None:
    """Measure the speed of this machine's skill-bench, in a checkout; about a quarter of an hour on two cores.

    Every item is stored as soon as it is finished; with --only, those measured before are kept.
    """
    folder = catalog.benchmarks()
    import torch

    from skill_bench.base.places import cache_folder
    from skill_bench.cli.console import ConsoleProgress
    from skill_bench.cli.options import names_in

    sys.path.insert(0, str(folder))
    items = importlib.import_module("speed.items")
    if threads is not None:
        torch.set_num_threads(threads)
    with ConsoleProgress() as progress:
        page = items.measure(
            wanted=names_in(only),
            batch_size=batch_size,
            utterance_seconds=utterance_seconds,
            rounds=rounds,
            hours=hours,
            data_root=data_root,
            cache_dir=cache_folder(cache_dir),
            out=out,
            markdown=markdown,
            progress=progress,
        )
    typer.echo(page)
