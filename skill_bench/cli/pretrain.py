"""``skill-bench pretrain``: a small teacher from unlabelled speech."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from skill_bench.cli.options import DataPaths, checkpoint_to_write, interruptible
from skill_bench.cli.training_options import (
    Changes,
    CheckpointEvery,
    MaxSeconds,
    Precision,
    ScaleUpdates,
    Tensorboard,
    TrainingDevice,
    WorkDir,
    launch,
    work_folder,
)
from skill_bench.upstream.spec import weights


def pretrain(
    data: DataPaths,
    out: Annotated[
        Path, typer.Option(help="The teacher to write, ending in .safetensors.", callback=checkpoint_to_write)
    ],
    recipe: Annotated[str, typer.Option(help="small, teacher, or a TOML file.")] = "small",
    changes: Changes = [],  # noqa: B006 (typer reads it, nobody changes it)
    scale_updates: ScaleUpdates = 1.0,
    seed: Annotated[int | None, typer.Option(help="Short for --set seed=N.")] = None,
    work_dir: WorkDir = None,
    start: Annotated[
        Path | None,
        typer.Option(
            help="A teacher to go on from; --set iterations.first=false leaves out the units of MFCC.",
            parser=weights,
            metavar="PATH|NAME",
        ),
    ] = None,
    synthetic_hours: Annotated[float, typer.Option(help="Hours of synthesised speech to add.")] = 0.0,
    device: TrainingDevice = "auto",
    precision: Precision = "fp32",
    max_seconds_per_device: MaxSeconds = None,
    checkpoint_every: CheckpointEvery = 200,
    tensorboard: Tensorboard = False,
) -> None:
    """Pre-train the small WavLM-shaped teacher by masked prediction."""
    from skill_bench.pretraining.recipe import load_recipe

    if seed is not None:
        changes = [*changes, f"seed={seed}"]
    chosen = load_recipe(recipe, changes=changes, scale_updates=scale_updates)
    folder = work_folder(work_dir, out)

    from skill_bench.cli.console import ConsoleProgress
    from skill_bench.corpora.listing import list_audio
    from skill_bench.models import checkpoint
    from skill_bench.models.size import size_of
    from skill_bench.pretraining.pretrain import make_teacher
    from skill_bench.report.render.curves import write_curves

    processes = launch(
        device=device,
        precision=precision,
        max_seconds_per_device=max_seconds_per_device,
        checkpoint_every_updates=checkpoint_every,
        tensorboard=tensorboard,
    )
    kept = f"checkpoints are in {folder}; the same command continues"
    with ConsoleProgress(quiet=not processes.is_first) as progress, interruptible(progress, kept=kept):
        encoder = make_teacher(
            list_audio(data),
            out,
            recipe=chosen,
            folder=folder,
            synthetic_hours=synthetic_hours,
            start=checkpoint.load(start) if start else None,
            processes=processes,
            progress=progress,
        )
    if processes.is_first:
        write_curves(sorted(folder.glob("iteration-*.csv")), folder / "curves", title=f"pretrain {chosen.name}")
        typer.echo(f"{out}: {size_of(encoder)} parameters")
