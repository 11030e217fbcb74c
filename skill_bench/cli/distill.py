"""``skill-bench distill``: a teacher and speech to a student checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from skill_bench.cli.options import DataPaths, Teacher, checkpoint_to_write, interruptible
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
    load_recipe(recipe, changes=changes, scale_updates=scale_updates)  # what is wrong with it is said at once
    folder = work_folder(work_dir, out)

    from skill_bench.api.distill import distill as method
    from skill_bench.cli.console import ConsoleProgress

    processes = launch(
        device=device,
        precision=precision,
        max_seconds_per_device=max_seconds_per_device,
        checkpoint_every_updates=checkpoint_every,
        tensorboard=tensorboard,
    )
    kept = f"checkpoints are in {folder}; the same command continues"
    with ConsoleProgress(quiet=not processes.is_first) as progress, interruptible(progress, kept=kept):
        student = method(
            teacher,
            data,
            out=out,
            recipe=recipe,
            changes=changes,
            scale_updates=scale_updates,
            work_dir=folder,
            dtype=dtype,
            processes=processes,
            progress=progress,
        )
    if not processes.is_first:
        return
    typer.echo(
        f"{out}: {student.metadata['n_parameters']} parameters, sparsity {float(student.metadata['sparsity']):.2%}, "
        f"groups {student.metadata['layer_groups']}"
    )
    typer.echo(f"curves: {', '.join(map(str, student.curves))}")
