"""A model in one of the formats that can be written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from skill_bench.base.errors import UnknownName, UsageError
from skill_bench.models import checkpoint
from skill_bench.models.checkpoint import LoadedModel
from skill_bench.models.export import FORMATS, dphubert, huggingface


@dataclass(frozen=True, kw_only=True)
class Written:
    """What an export left.

    Attributes:
        paths: The files.
        note: Who can load them; None where the format says it.
    """

    paths: list[Path]
    note: str | None = None


def require_format(format: str, *, half: bool) -> None:
    """Checks what was asked for.

    Raises:
        UnknownName: no such format.
        UsageError: float16 in a format that has none.
    """
    if format not in FORMATS:
        raise UnknownName("format", format, FORMATS)
    if half and format != "safetensors":
        raise UsageError(f"--half belongs to --format safetensors, found {format}.")


def write(
    loaded: LoadedModel,
    out: Path,
    *,
    format: str,
    metadata: Mapping[str, str],
    half: bool = False,
    card: Callable[[bool], str],
) -> Written:
    """Writes ``loaded`` to ``out``.

    Args:
        loaded: The model.
        out: A file; for ``huggingface`` a folder.
        format: One of `FORMATS`.
        metadata: Kept with the weights.
        half: Store float16.
        card: Text of the model card, given whether the folder holds code that loads it.

    Raises:
        UnknownName: no such format.
        UsageError: a file where a folder is expected, or an option of another format.
        CheckpointError: the model has something that the format cannot hold.
    """
    require_format(format, half=half)
    said = dict(metadata)
    if format == "safetensors":
        checkpoint.save(loaded.encoder, out, metadata=said, dtype=torch.float16 if half else torch.float32)
        return Written(paths=[out])
    if format == "dphubert":
        return Written(paths=[dphubert.write(loaded.encoder, out, metadata=said)])
    if out.suffix in (".safetensors", ".pth", ".pt") or out.is_file():
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
    return Written(paths=list(paths), note=note)
