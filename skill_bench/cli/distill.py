"""``skill-bench distill``: a teacher and speech to a student checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from skill_bench.cli.options import DataPaths, Teacher, checkpoint_to_write
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


def distill(
    teacher: Teacher,
    data: DataPaths,
    out: Annotated[
        Path, typer.Option(help="The student to write, ending in .safetensors.", callback=checkpoint_to_write)
    ],
    recipe: Annotated[
        str, typer.Option(help="skill, dphubert, distilhubert, random_groups, uniform_groups, or a TOML file.")
    ] = "skill",
    changes: Changes = [],  # noqa: B006 (typer reads it, nobody changes it)
    scale_updates: ScaleUpdates = 1.0,
    seed: Annotated[int | None, typer.Option(help="Short for --set seed=N.")] = None,
    work_dir: WorkDir = None,
    device: TrainingDevice = "auto",
    precision: Precision = "fp32",
    max_seconds_per_device: MaxSeconds = None,
    checkpoint_every: CheckpointEvery = 200,
    tensorboard: Tensorboard = False,
    dtype: Annotated[
        Literal["float16", "float32"],
        typer.Option(help="How weights are stored; half the size moves hidden states by about a thousandth."),
    ] = "float16",
) -> None:
    """Distil a student from a teacher: joint pruning, then distillation alone."""
    from skill_bench.distillation.recipe import load_recipe

    if seed is not None:
        changes = [*changes, f"seed={seed}"]
    chosen = load_recipe(recipe, changes=changes, scale_updates=scale_updates)
    folder = work_folder(work_dir, out)

    import torch

    from skill_bench.cli.console import ConsoleProgress
    from skill_bench.corpora.listing import list_audio
    from skill_bench.distillation.distill import distill as method
    from skill_bench.models import checkpoint
    from skill_bench.report.render.distilled import write_distilled

    processes = launch(
        device=device,
        precision=precision,
        max_seconds_per_device=max_seconds_per_device,
        checkpoint_every_updates=checkpoint_every,
        tensorboard=tensorboard,
    )
    loaded = checkpoint.load(teacher)
    utterances = list_audio(data)
    with ConsoleProgress(quiet=not processes.is_first) as progress:
        try:
            student = method(loaded, utterances, recipe=chosen, folder=folder, processes=processes, progress=progress)
        except KeyboardInterrupt:
            progress.note(f"interrupted: checkpoints are in {folder}; the same command continues")
            raise typer.Exit(130) from None
    if not processes.is_first:
        return
    curves = write_distilled(folder, title=f"distill {chosen.name}")
    checkpoint.save(student.encoder, out, metadata=student.metadata, dtype=getattr(torch, dtype))
    typer.echo(
        f"{out}: {student.metadata['n_parameters']} parameters, sparsity {float(student.metadata['sparsity']):.2%}, "
        f"groups {student.metadata['layer_groups']}"
    )
    typer.echo(f"curves: {', '.join(map(str, curves))}")
