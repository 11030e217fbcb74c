"""``skill-bench export``: a checkpoint in the form that other programs read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from skill_bench.cli.paths import require_file, require_folder, there
from skill_bench.upstream.weights import weights


def export(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            help="File or folder of any readable format, or a bundled upstream's name.",
            parser=weights,
            metavar="PATH|NAME",
        ),
    ],
    out: Annotated[Path, typer.Option(help="FILE.safetensors, FILE.pth (dphubert) or a folder (huggingface).")],
    format: Annotated[str, typer.Option(help="safetensors, dphubert or huggingface.")] = "safetensors",
    half: Annotated[bool, typer.Option(help="Store float16 (safetensors only).")] = False,
    records: Annotated[
        list[Path] | None,
        typer.Option(help="Records, a folder or archive, whose scores go into the model card; repeat.", callback=there),
    ] = None,
    title: Annotated[str | None, typer.Option(help="What the model is called.")] = None,
    teacher: Annotated[str | None, typer.Option(help="Name of its teacher.")] = None,
    licence: Annotated[str | None, typer.Option(help="Licence of the weights.")] = None,
    data: Annotated[str | None, typer.Option(help="What it was trained on.")] = None,
) -> None:
    """Write a checkpoint as skill-bench's safetensors, for DPHuBERT's code, or as a Hugging Face folder.

    The hidden states stay the same; what a format cannot hold is folded into the weights or refused.
    """
    from skill_bench.models.export.write import require_format, write

    require_format(format, half=half)
    (require_folder if format == "huggingface" else require_file)(out, option="--out")

    from skill_bench.models import checkpoint as checkpoints
    from skill_bench.models.size import size_of
    from skill_bench.report.render.card import model_card
    from skill_bench.report.table.collect import collect

    loaded = checkpoints.load(checkpoint)
    for note in loaded.notes:
        typer.echo(f"{checkpoint}: {note}")
    said = {"title": title, "teacher": teacher, "licence": licence, "data": data}
    metadata = loaded.metadata | {key: value for key, value in said.items() if value is not None}

    def card(loads_with_transformers: bool) -> str:
        architecture = loaded.encoder.architecture
        return model_card(
            title=metadata.get("title", checkpoint.stem),
            sha256=loaded.sha256,
            n_parameters=size_of(loaded.encoder),
            n_hidden_states=len(architecture.layers) + 1,
            dim=architecture.dim,
            family=architecture.family,
            metadata=metadata,
            collections=[collect(folder) for folder in records or ()],
            loads_with_transformers=loads_with_transformers,
        )

    written = write(loaded, out, format=format, metadata=metadata, half=half, card=card)
    if written.note is not None:
        typer.echo(written.note)
    for path in written.paths:
        typer.echo(path)
