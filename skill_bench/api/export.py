"""A model in the form that other programs read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

from torch import Tensor

from skill_bench.base.errors import UsageError
from skill_bench.base.places import Paths, each
from skill_bench.base.sample_rate import SAMPLE_RATE_HZ
from skill_bench.corpora.audio.audio import load_utterance
from skill_bench.corpora.listing import list_audio
from skill_bench.evaluation.kinds import hub_task
from skill_bench.layers.measure import MAX_SECONDS, choose
from skill_bench.models import checkpoint
from skill_bench.models.export.write import Written, require_format, write
from skill_bench.models.onnx_file import Precision
from skill_bench.models.size import size_of
from skill_bench.report.render.card import model_card
from skill_bench.report.table.collect import collect
from skill_bench.report.table.load import load_collections
from skill_bench.upstream.origin import origin
from skill_bench.upstream.spec import weights

_MOST_UTTERANCES = 32
"""That ranges are learnt from and parity is heard on."""


def export(
    model: str | Path,
    out: str | Path,
    *,
    format: str = "safetensors",
    half: bool = False,
    quantise: str | None = None,
    calibrate: Paths = (),
    results: Paths = (),
    title: str | None = None,
    teacher: str | None = None,
    licence: str | None = None,
    data: str | None = None,
    datasets: Sequence[str] = (),
    languages: Sequence[str] = (),
) -> Written:
    """Writes a checkpoint in another form, which says where it comes from. The hidden states stay the same.

    Args:
        model: Checkpoint of any readable format, or a bundled upstream's name.
        out: FILE.safetensors, FILE.pth (dphubert), FILE.onnx, or a folder (huggingface).
        format: ``safetensors``, ``dphubert``, ``huggingface`` or ``onnx``.
        half: Store float16 (safetensors only).
        quantise: ``int8``, or ``int8-static`` with ranges from ``calibrate`` (onnx only).
        calibrate: Speech for ranges and parity (onnx only): folder of audio, LibriSpeech tree or manifest.tsv; or
            several.
        results: Records, a folder or archive or several, whose scores go into the model card; by default those that
            come with the package.
        title: What the model is called; this and the following stand in place of what checkpoint and upstream say.
        teacher: Name of its teacher.
        licence: Of the weights.
        data: What it was trained on.
        datasets: Hub ids or names of the data sets it was trained on.
        languages: Codes (``en``) of the languages it was trained on.

    Raises:
        UnknownName: no such format, or no such precision.
        UsageError: an option of another format, what is no code of a language, or no such model.
        CheckpointError: the model has something that the format cannot hold.
    """
    speech, records = each(calibrate), each(results)
    require_format(format, half=half, quantise=quantise, calibrate=bool(speech))
    if unknown := [code for code in languages if not re.fullmatch("[a-z]{2,3}", code)]:
        raise UsageError(f"--language {unknown[0]}: expected a code of ISO 639-1 or 639-3, such as en.")
    path = weights(str(model))
    loaded = checkpoint.load(path)
    said = {"title": title, "teacher": teacher, "licence": licence, "data": data}
    said |= {"datasets": ", ".join(datasets), "languages": ", ".join(languages)}
    metadata = loaded.metadata | origin(path, loaded.metadata) | {key: value for key, value in said.items() if value}

    def card(runs_code: bool) -> str:
        architecture = loaded.encoder.architecture
        return model_card(
            title=metadata.get("title", path.stem),
            sha256=loaded.sha256,
            n_parameters=size_of(loaded.encoder),
            n_hidden_states=len(architecture.layers) + 1,
            dim=architecture.dim,
            family=architecture.family,
            metadata=metadata,
            collections=[collect(folder) for folder in records] if records else load_collections(),
            runs_code=runs_code,
            hub_task=hub_task,
        )

    written = write(
        loaded,
        Path(out),
        format=format,
        metadata=metadata,
        half=half,
        precision=cast("Precision", quantise or "float32"),
        speech=_waves(speech) if speech else (),
        card=card,
    )
    return replace(written, notes=(*(f"{path}: {note}" for note in loaded.notes), *written.notes))


def _waves(paths: Sequence[Path]) -> list[Tensor]:
    """A few utterances of the training split, as much of each as a similarity hears."""
    chosen = choose(list_audio(paths), n=_MOST_UTTERANCES, seed=0)
    return [load_utterance(utterance).waveform[: int(MAX_SECONDS * SAMPLE_RATE_HZ)] for utterance in chosen]
