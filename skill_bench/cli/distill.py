"""``skill-bench distill``: a teacher and speech to a student checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from skill_bench.cli.options import DataPaths
from skill_bench.errors import UnknownName, UsageError


def distill(
    teacher: Annotated[Path, typer.Option(help="Checkpoint of any readable format.")],
    data: DataPaths,
    out: Annotated[Path, typer.Option(help="The student to write, ending in .safetensors.")],
    recipe: Annotated[str, typer.Option(help="skill or dphubert.")] = "skill",
    work_dir: Annotated[
        Path | None, typer.Option(help="Checkpoints and logs; the same command continues there. Default: OUT.work.")
    ] = None,
    joint_updates: Annotated[int, typer.Option(help="Updates of the joint stage.")] = 50_000,
    final_updates: Annotated[int, typer.Option(help="Updates after pruning.")] = 25_000,
    seconds_per_batch: Annotated[float, typer.Option(help="Audio of a batch.")] = 640.0,
    min_seconds: Annotated[float, typer.Option(help="Shorter utterances are left out.")] = 2.0,
    learning_rate: Annotated[float, typer.Option(help="Peak of the joint stage; half of it after pruning.")] = 2e-4,
    gate_learning_rate: Annotated[float, typer.Option(help="Peak for gates and multipliers.")] = 2e-2,
    sparsity: Annotated[float, typer.Option(help="Share of the teacher's parameters to remove.")] = 0.75,
    clusters: Annotated[int, typer.Option(help="Groups of layers (skill).")] = 4,
    contiguous: Annotated[bool, typer.Option(help="Only neighbouring layers form a group (skill).")] = True,
    seed: Annotated[int, typer.Option()] = 0,
) -> None:
    """Distil a student from a teacher: joint pruning, then distillation alone."""
    from skill_bench.compress.recipe import RECIPES

    if recipe not in RECIPES:
        raise UnknownName("recipe", recipe, RECIPES)
    if out.suffix != ".safetensors":
        raise UsageError(f"--out {out}: expected a name ending in .safetensors.")

    import torch

    from skill_bench.cli.console import ConsoleProgress, TrainingProgress
    from skill_bench.compress import distill as engine
    from skill_bench.corpora.listing import list_audio
    from skill_bench.models import checkpoint

    chosen = RECIPES[recipe](
        clustering={"n_groups": clusters, "contiguous": contiguous},
        joint={"n_updates": joint_updates, "learning_rate": learning_rate, "warmup_updates": joint_updates * 3 // 10},
        final={"n_updates": final_updates, "learning_rate": learning_rate / 2, "warmup_updates": final_updates // 5},
        sparsity={"target": sparsity, "ramp_updates": joint_updates // 10, "learning_rate": gate_learning_rate},
        seconds_per_batch=seconds_per_batch,
        min_seconds=min_seconds,
        seed=seed,
    )
    loaded = checkpoint.load(teacher)
    utterances = list_audio(data)
    with ConsoleProgress() as progress:
        student = engine.distill(
            loaded,
            utterances,
            recipe=chosen,
            folder=work_dir or out.with_suffix(".work"),
            progress=TrainingProgress(progress, f"distill {recipe}"),
        )
    checkpoint.save(student.encoder, out, metadata=student.metadata, dtype=torch.float16)
    typer.echo(
        f"{out}: {student.metadata['n_parameters']} parameters, sparsity {float(student.metadata['sparsity']):.2%}, "
        f"groups {student.metadata['layer_groups']}"
    )
