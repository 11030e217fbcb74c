"""``skill-bench pretrain``: a small teacher from unlabelled speech."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from skill_bench.cli.options import DataPaths
from skill_bench.errors import UsageError


def pretrain(
    data: DataPaths,
    out: Annotated[Path, typer.Option(help="The teacher to write, ending in .safetensors.")],
    work_dir: Annotated[
        Path | None, typer.Option(help="Checkpoints and logs; the same command continues there. Default: OUT.work.")
    ] = None,
    synthetic_hours: Annotated[float, typer.Option(help="Hours of synthesised speech to add.")] = 0.0,
    updates: Annotated[int, typer.Option(help="Updates on units of MFCC.")] = 1100,
    second_updates: Annotated[int, typer.Option(help="Updates on units of the first iteration's layer 8.")] = 500,
    seed: Annotated[int, typer.Option()] = 0,
) -> None:
    """Pre-train the small WavLM-shaped teacher by masked prediction."""
    if out.suffix != ".safetensors":
        raise UsageError(f"--out {out}: expected a name ending in .safetensors.")

    import torch

    from skill_bench.cli.console import ConsoleProgress, TrainingProgress
    from skill_bench.compress.teacher import SMALL_TEACHER, small_recipe
    from skill_bench.compress.teacher import pretrain as engine
    from skill_bench.corpora.listing import list_audio
    from skill_bench.corpora.pretraining import synthesise_speech
    from skill_bench.models import checkpoint

    folder = work_dir or out.with_suffix(".work")
    utterances = list_audio(data)
    hours = sum(u.seconds or 0 for u in utterances) / 3600
    with ConsoleProgress() as progress:
        if synthetic_hours:
            utterances = [*utterances, *synthesise_speech(folder / "synthetic", hours=synthetic_hours, seed=seed + 1)]
        recipe = small_recipe(updates=updates, second_updates=second_updates, seed=seed)
        encoder = engine(
            SMALL_TEACHER, utterances, recipe=recipe, folder=folder, progress=TrainingProgress(progress, "pretrain")
        )
    metadata = {"recipe": recipe.to_json(), "recorded_hours": f"{hours:.3f}", "synthetic_hours": f"{synthetic_hours}"}
    checkpoint.save(encoder, out, metadata=metadata, dtype=torch.float16)
    typer.echo(f"{out}: {sum(p.numel() for p in encoder.parameters())} parameters")
