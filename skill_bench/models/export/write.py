"""A model in one of the formats that can be written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import torch

from skill_bench.base.errors import UnknownName, UsageError
from skill_bench.models import checkpoint
from skill_bench.models.checkpoint import LoadedModel
from skill_bench.models.export import FORMATS, dphubert, huggingface, onnx_file
from skill_bench.models.onnx_file import Precision

QUANTISED = tuple(name for name in get_args(Precision) if name != "float32")


@dataclass(frozen=True, kw_only=True)
class Written:
    """What an export left.

    Attributes:
        paths: The files.
        notes: What reading the model left out, who can load the files, or how exact they are.
    """

    paths: list[Path]
    notes: tuple[str, ...] = ()


def require_format(format: str, *, half: bool, quantise: str | None = None, calibrate: bool = False) -> None:
    """Checks what was asked for.

    Args:
        half: Store float16.
        quantise: Precision of an ONNX graph, if not float32.
        calibrate: Whether speech to learn ranges from is given.

    Raises:
        UnknownName: no such format, or no such precision.
        UsageError: an option of another format, or calibration speech missing.
    """
    if format not in FORMATS:
        raise UnknownName("format", format, FORMATS)
    if half and format != "safetensors":
        raise UsageError(f"--half belongs to --format safetensors, found {format}.")
    if format != "onnx" and (quantise is not None or calibrate):
        option = "--calibrate" if quantise is None else "--quantise"
        raise UsageError(f"{option} belongs to --format onnx, found {format}.")
    if quantise is not None and quantise not in QUANTISED:
        raise UnknownName("precision", quantise, QUANTISED)
    if quantise == "int8-static" and not calibrate:
        raise UsageError("--quantise int8-static learns its ranges from speech. Name some: --calibrate FOLDER.")


def write(
    loaded: LoadedModel,
    out: Path,
    *,
    format: str,
    metadata: Mapping[str, str],
    half: bool = False,
    precision: Precision = "float32",
    speech: onnx_file.Waves = (),
    card: Callable[[bool], str],
) -> Written:
    """Writes ``loaded`` to ``out``.

    Args:
        loaded: The model.
        out: A file; for ``huggingface`` a folder.
        format: One of `FORMATS`.
        metadata: Kept with the weights.
        half: Store float16.
        precision: Of an ONNX graph's linear layers.
        speech: For an ONNX graph: what ranges are learnt from, and what its parity report is about.
        card: Text of the model card, given whether the folder holds code that loads it.

    Raises:
        UnknownName: no such format.
        UsageError: a file where a folder is expected, or an option of another format.
        CheckpointError: the model has something that the format cannot hold.
    """
    require_format(format, half=half, quantise=None if precision == "float32" else precision, calibrate=bool(speech))
    said = dict(metadata)
    if format == "safetensors":
        checkpoint.save(loaded.encoder, out, metadata=said, dtype=torch.float16 if half else torch.float32)
        return Written(paths=[out])
    if format == "dphubert":
        return Written(paths=[dphubert.write(loaded.encoder, out, metadata=said)])
    if format == "onnx":
        stated = onnx_file.write(loaded, out, metadata=said, precision=precision, speech=speech)
        return Written(paths=[out], notes=(onnx_file.report(stated),))
    if out.suffix in (".safetensors", ".pth", ".pt", ".onnx") or out.is_file():
        raise UsageError(f"--out {out}: expected a folder for --format huggingface.")
    reason = huggingface.why_not_transformers(loaded.encoder)
    if reason is None:
        note = "transformers' AutoModel.from_pretrained loads this folder."
    else:
        note = (
            "AutoModel.from_pretrained(FOLDER, trust_remote_code=True) loads this folder by the code in it; "
            f"without it transformers cannot, because {reason}."
        )
    paths = huggingface.write(loaded.encoder, out, metadata=said, card=card(reason is not None))
    return Written(paths=list(paths), notes=(note,))
