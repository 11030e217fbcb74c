"""``skill-bench pretrain``: a small teacher from unlabelled speech."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from skill_bench.base.errors import UsageError
from skill_bench.cli.options import DataPaths, require_writable
from skill_bench.cli.training_options import (
    CheckpointEvery,
    MaxSeconds,
    Precision,
    Tensorboard,
    TrainingDevice,
    WorkDir,
    launch,
)


def pretrain(
    data: DataPaths,
    out: Annotated[Path, typer.Option(help="The teacher to write, ending in .safetensors.")],
    recipe: Annotated[str, typer.Option(help="small, or a TOML file.")] = "small",
    changes: Annotated[
        list[str], typer.Option("--set", help="Change one number: table.key=value; repeat for several.")
    ] = [],  # noqa: B006 (typer reads it, nobody changes it)
    scale_updates: Annotated[float, typer.Option(help="Multiply every number of updates.")] = 1.0,
    seed: Annotated[int | None, typer.Option(help="Short for --set seed=N.")] = None,
    work_dir: WorkDir = None,
    start: Annotated[
        Path | None,
        typer.Option(help="A teacher to go on from; --set iterations.first=false leaves out the units of MFCC."),
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
    if out.suffix != ".safetensors":
        raise UsageError(f"--out {out}: expected a name ending in .safetensors.")
    require_writable(out)

    from skill_bench.cli.console import ConsoleProgress, TrainingProgress
    from skill_bench.corpora.listing import list_audio
    from skill_bench.models import checkpoint
    from skill_bench.pretraining.pretrain import make_teacher
    from skill_bench.report.render.curves import write_curves

    processes = launch(
        device=device,
        precision=precision,
        max_seconds_per_device=max_seconds_per_device,
        checkpoint_every_updates=checkpoint_every,
        tensorboard=tensorboard,
    )
    folder = work_dir or out.with_suffix(".work")
    with ConsoleProgress(quiet=not processes.is_first) as progress:
        encoder = make_teacher(
            list_audio(data),
            out,
            recipe=chosen,
            folder=folder,
            synthetic_hours=synthetic_hours,
            start=checkpoint.load(start) if start else None,
            processes=processes,
            progress=TrainingProgress(progress, f"pretrain {chosen.name}"),
            stages=progress,
        )
    if processes.is_first:
        write_curves(sorted(folder.glob("iteration-*.csv")), folder / "curves", title=f"pretrain {chosen.name}")
        typer.echo(f"{out}: {sum(p.numel() for p in encoder.parameters())} parameters")
