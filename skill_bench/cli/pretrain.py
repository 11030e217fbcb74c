"""``skill-bench pretrain``: a small teacher from unlabelled speech."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from skill_bench.cli.options import DataPaths, checkpoint_to_write
from skill_bench.cli.paths import weights
from skill_bench.cli.training_options import (
    CheckpointEvery,
    MaxSeconds,
    Precision,
    Tensorboard,
    TrainingDevice,
    WorkDir,
    launch,
    work_folder,
)


def pretrain(
    data: DataPaths,
    out: Annotated[
        Path, typer.Option(help="The teacher to write, ending in .safetensors.", callback=checkpoint_to_write)
    ],
    work_dir: WorkDir = None,
    start: Annotated[
        Path | None,
        typer.Option(
            help="A teacher to go on from: only the second iteration, on units of its layer 8.",
            parser=weights,
            metavar="PATH|NAME",
        ),
    ] = None,
    synthetic_hours: Annotated[float, typer.Option(help="Hours of synthesised speech to add.")] = 0.0,
    updates: Annotated[int, typer.Option(help="Updates on units of MFCC.")] = 1100,
    second_updates: Annotated[int, typer.Option(help="Updates on units of the first iteration's layer 8.")] = 500,
    seed: Annotated[int, typer.Option()] = 0,
    device: TrainingDevice = "auto",
    precision: Precision = "fp32",
    max_seconds_per_device: MaxSeconds = None,
    checkpoint_every: CheckpointEvery = 200,
    tensorboard: Tensorboard = False,
) -> None:
    """Pre-train the small WavLM-shaped teacher by masked prediction."""
    folder = work_folder(work_dir, out)

    import torch

    from skill_bench.cli.console import ConsoleProgress
    from skill_bench.corpora.listing import list_audio
    from skill_bench.models import checkpoint
    from skill_bench.models.size import size_of
    from skill_bench.pretraining.recipe import pretrain_small
    from skill_bench.report.render.curves import write_curves

    processes = launch(
        device=device,
        precision=precision,
        max_seconds_per_device=max_seconds_per_device,
        checkpoint_every_updates=checkpoint_every,
        tensorboard=tensorboard,
    )
    with ConsoleProgress(quiet=not processes.is_first) as progress:
        made = pretrain_small(
            list_audio(data),
            folder=folder,
            updates=updates,
            second_updates=second_updates,
            seed=seed,
            synthetic_hours=synthetic_hours,
            start=start,
            processes=processes,
            progress=progress,
        )
    if not processes.is_first:
        return
    write_curves(sorted(folder.glob("iteration-*.csv")), folder / "curves", title="pretrain")
    checkpoint.save(made.encoder, out, metadata=made.metadata, dtype=torch.float16)
    typer.echo(f"{out}: {size_of(made.encoder)} parameters")
