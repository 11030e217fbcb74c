"""``skill-bench export``: a checkpoint in the form that other programs read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from skill_bench.cli.paths import require_file, require_folder, there
from skill_bench.upstream.spec import weights


def export(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            help="File or folder of any readable format, or a bundled upstream's name.",
            parser=weights,
            metavar="PATH|NAME",
        ),
    ],
    out: Annotated[
        Path, typer.Option(help="FILE.safetensors, FILE.pth (dphubert), FILE.onnx, or a folder (huggingface).")
    ],
    format: Annotated[str, typer.Option(help="safetensors, dphubert, huggingface or onnx.")] = "safetensors",
    half: Annotated[bool, typer.Option(help="Store float16 (safetensors only).")] = False,
    quantise: Annotated[
        str | None, typer.Option(help="int8, or int8-static with ranges from --calibrate (onnx only).")
    ] = None,
    calibrate: Annotated[
        list[Path] | None,
        typer.Option(
            help="Speech for ranges and parity (onnx only): folder of audio, LibriSpeech tree or manifest.tsv; repeat.",
            callback=there,
        ),
    ] = None,
    results: Annotated[
        list[Path] | None,
        typer.Option(
            help="Records, a folder or archive, whose scores go into the model card (default: those that come with "
            "skill-bench); repeat.",
            callback=there,
        ),
    ] = None,
    title: Annotated[str | None, typer.Option(help="What the model is called.")] = None,
    teacher: Annotated[str | None, typer.Option(help="Name of its teacher.")] = None,
    licence: Annotated[str | None, typer.Option(help="Licence of the weights.")] = None,
    data: Annotated[str | None, typer.Option(help="What it was trained on.")] = None,
    dataset: Annotated[
        list[str] | None, typer.Option(help="Hub id or name of a data set it was trained on; repeat.")
    ] = None,
    language: Annotated[
        list[str] | None, typer.Option(help="Code (en) of a language it was trained on; repeat.")
    ] = None,
) -> None:
    """Write a checkpoint as skill-bench's safetensors, for DPHuBERT's code, as a Hugging Face folder, as an ONNX graph.

    The hidden states stay the same; what a format cannot hold is folded into the weights or refused.
    """
    from skill_bench.models.export.write import require_format

    require_format(format, half=half, quantise=quantise, calibrate=bool(calibrate))
    (require_folder if format == "huggingface" else require_file)(out, option="--out")

    from skill_bench.api.export import export as write

    written = write(
        checkpoint,
        out,
        format=format,
        half=half,
        quantise=quantise,
        calibrate=calibrate or (),
        results=results or (),
        title=title,
        teacher=teacher,
        licence=licence,
        data=data,
        datasets=dataset or (),
        languages=language or (),
    )
    for line in (*written.notes, *written.paths):
        typer.echo(line)
