"""``skill-bench export``: a checkpoint in the form that other programs read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from skill_bench.cli.paths import require_file, require_folder, there
from skill_bench.upstream.spec import weights

if TYPE_CHECKING:
    from torch import Tensor

    from skill_bench.models.onnx_file import Precision

_MOST_UTTERANCES = 32
"""That ranges are learnt from and parity is heard on."""


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
    from skill_bench.base.errors import UsageError
    from skill_bench.models.export.write import require_format, write

    require_format(format, half=half, quantise=quantise, calibrate=bool(calibrate))
    if unknown := [code for code in language or () if not re.fullmatch("[a-z]{2,3}", code)]:
        raise UsageError(f"--language {unknown[0]}: expected a code of ISO 639-1 or 639-3, such as en.")
    (require_folder if format == "huggingface" else require_file)(out, option="--out")

    from skill_bench.evaluation.kinds import hub_task
    from skill_bench.models import checkpoint as checkpoints
    from skill_bench.models.size import size_of
    from skill_bench.report.render.card import model_card
    from skill_bench.report.table.collect import collect
    from skill_bench.report.table.load import load_collections
    from skill_bench.upstream.origin import origin

    loaded = checkpoints.load(checkpoint)
    for note in loaded.notes:
        typer.echo(f"{checkpoint}: {note}")
    said = {"title": title, "teacher": teacher, "licence": licence, "data": data}
    said |= {"datasets": ", ".join(dataset or ()), "languages": ", ".join(language or ())}
    metadata = loaded.metadata | origin(checkpoint, loaded.metadata) | {k: v for k, v in said.items() if v}

    def card(runs_code: bool) -> str:
        architecture = loaded.encoder.architecture
        return model_card(
            title=metadata.get("title", checkpoint.stem),
            sha256=loaded.sha256,
            n_parameters=size_of(loaded.encoder),
            n_hidden_states=len(architecture.layers) + 1,
            dim=architecture.dim,
            family=architecture.family,
            metadata=metadata,
            collections=[collect(folder) for folder in results] if results else load_collections(),
            runs_code=runs_code,
            hub_task=hub_task,
        )

    written = write(
        loaded,
        out,
        format=format,
        metadata=metadata,
        half=half,
        precision=cast("Precision", quantise or "float32"),
        speech=_speech(calibrate) if calibrate else (),
        card=card,
    )
    if written.note is not None:
        typer.echo(written.note)
    for path in written.paths:
        typer.echo(path)


def _speech(paths: list[Path]) -> list[Tensor]:
    """A few utterances of the training split, as much of each as a similarity hears."""
    from skill_bench.base.sample_rate import SAMPLE_RATE_HZ
    from skill_bench.corpora.audio.audio import load_utterance
    from skill_bench.corpora.listing import list_audio
    from skill_bench.layers.measure import MAX_SECONDS, choose

    chosen = choose(list_audio(paths), n=_MOST_UTTERANCES, seed=0)
    return [load_utterance(utterance).waveform[: int(MAX_SECONDS * SAMPLE_RATE_HZ)] for utterance in chosen]
