"""``skill-bench pretrain``: a small teacher from unlabelled speech."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from skill_bench.cli.options import DataPaths, require_writable_checkpoint
from skill_bench.cli.training_options import (
    CheckpointEvery,
    MaxSeconds,
    Precision,
    Tensorboard,
    TrainingDevice,
    WorkDir,
    launch,
)
from skill_bench.models.size import size_of


def pretrain(
    data: DataPaths,
    out: Annotated[Path, typer.Option(help="The teacher to write, ending in .safetensors.")],
    work_dir: WorkDir = None,
    start: Annotated[
        Path | None, typer.Option(help="A teacher to go on from: only the second iteration, on units of its layer 8.")
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
    require_writable_checkpoint(out)

    import torch

    from skill_bench.cli.console import ConsoleProgress
    from skill_bench.corpora.listing import list_audio
    from skill_bench.corpora.synthetic.varied import synthesise_speech
    from skill_bench.models import checkpoint
    from skill_bench.pretraining.recipe import SMALL_TEACHER, small_recipe
    from skill_bench.pretraining.recipe import pretrain as method
    from skill_bench.report.render.curves import write_curves

    processes = launch(
        device=device,
        precision=precision,
        max_seconds_per_device=max_seconds_per_device,
        checkpoint_every_updates=checkpoint_every,
        tensorboard=tensorboard,
    )
    folder = work_dir or out.with_suffix(".work")
    utterances = list_audio(data)
    hours = sum(u.seconds or 0 for u in utterances) / 3600
    with ConsoleProgress(quiet=not processes.is_first) as progress:
        if synthetic_hours:
            utterances = [*utterances, *synthesise_speech(folder / "synthetic", hours=synthetic_hours, seed=seed + 1)]
        begun = checkpoint.load(start) if start else None
        recipe = small_recipe(updates=0 if begun else updates, second_updates=second_updates, seed=seed)
        processes.check_audio(utterances, progress)
        encoder = method(
            begun.encoder.architecture if begun else SMALL_TEACHER,
            utterances,
            recipe=recipe,
            folder=folder,
            start=begun.encoder if begun else None,
            processes=processes,
            progress=progress,
        )
    if not processes.is_first:
        return
    metadata = {"recipe": recipe.to_json(), "recorded_hours": f"{hours:.3f}", "synthetic_hours": f"{synthetic_hours}"}
    if begun:
        metadata["started_from"] = begun.sha256
    write_curves(sorted(folder.glob("iteration-*.csv")), folder / "curves", title="pretrain")
    checkpoint.save(encoder, out, metadata=metadata, dtype=torch.float16)
    typer.echo(f"{out}: {size_of(encoder)} parameters")
