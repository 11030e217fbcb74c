"""Encoders on disk: our own self-describing file, and one door to every format that can be read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save as to_safetensors
from torch import Tensor

from skill_bench.base.documents import write_atomic
from skill_bench.base.errors import CheckpointError, KeyMismatch
from skill_bench.models import convert
from skill_bench.models.architecture import Architecture
from skill_bench.models.convert.shared.foreign import Converted, Source, open_source
from skill_bench.models.convert.shared.tensors import build_architecture, rename, state_dict
from skill_bench.models.encoder import Encoder

FORMAT = "skill-bench"
VERSION = "1"
RESERVED = ("format", "version", "architecture", "skill_bench")


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """An encoder from disk: evaluation mode, float32, no gradients.

    Attributes:
        metadata: strings that came with it (recipe, teacher's hash, layer groups, licence, training record...).
        format: ``skill-bench`` or the name of the module of ``models/convert`` that read it.
        sha256: of architecture and weights as loaded; the same for the same model in another file or format.
        notes: what the user should know of how it was read, such as a part that was left out.
    """

    encoder: Encoder
    metadata: dict[str, str]
    format: str
    sha256: str
    notes: tuple[str, ...] = ()


def save(
    encoder: Encoder,
    path: Path | str,
    *,
    metadata: Mapping[str, object],
    dtype: torch.dtype = torch.float32,
    for_transformers: bool = False,
) -> str:
    """Writes one .safetensors file, in one step, and returns the sha256 that :func:`load` will report.

    Args:
        metadata: free strings; the names ``format``, ``version``, ``architecture`` and ``skill_bench`` are ours.
        dtype: ``torch.float16`` halves the file; it is read back as float32.
        for_transformers: the format is called ``pt``, since transformers before 5 reads no other; ours stands beside.

    Raises:
        CheckpointError: wrong suffix or dtype, reserved or non-string metadata, weights that are not finite.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise CheckpointError(f"{path}: a skill-bench checkpoint ends in .safetensors.")
    if dtype not in (torch.float16, torch.float32):
        raise CheckpointError(f"dtype {dtype}: expected torch.float16 or torch.float32.")
    strings: dict[str, str] = {}
    for key, value in metadata.items():
        if key in RESERVED or not isinstance(value, str):
            raise CheckpointError(f"metadata {key!r}: must be a string under another name than {', '.join(RESERVED)}.")
        strings[key] = value
    tensors = {name: tensor.detach().to("cpu", dtype).contiguous() for name, tensor in encoder.state_dict().items()}
    broken = [name for name, tensor in tensors.items() if not bool(tensor.isfinite().all())]
    if broken:
        raise CheckpointError(
            f"{path}: not saved, because these weights are not finite in {dtype}: {', '.join(broken)}. Values above "
            "65504 fit into float32 alone (`distill --dtype float32` with the same work folder trains nothing again)."
        )
    header = {"format": FORMAT, "version": VERSION, "architecture": _architecture_json(encoder.architecture)}
    if for_transformers:
        header |= {"format": "pt", "skill_bench": FORMAT}
    write_atomic(path, to_safetensors(tensors, metadata={**strings, **header}))
    return weights_sha256(encoder.architecture, tensors)


def load(path: Path | str) -> LoadedModel:
    """Reads a checkpoint of any known format, a file or a folder.

    Raises:
        CheckpointError: missing, truncated, or not usable; see its subclasses for unknown formats, weights that do
            not fit, and files that ask to run code.
    """
    return read(open_source(Path(path)))


def read(source: Source) -> LoadedModel:
    """As :func:`load`, from what is already in memory."""
    if FORMAT in (source.metadata.get("format"), source.metadata.get("skill_bench")):
        name, converted = FORMAT, _read_own(source)
    else:
        name, fmt = convert.find(source)
        converted = fmt.convert(source)
    return LoadedModel(
        encoder=build(converted, str(source.path)),
        metadata=converted.metadata,
        format=name,
        sha256=weights_sha256(converted.architecture, converted.tensors),
        notes=converted.notes,
    )


def weights_sha256(architecture: Architecture, tensors: Mapping[str, Tensor]) -> str:
    """sha256 over the architecture and the names, shapes and float32 values of the weights."""
    digest = hashlib.sha256(_architecture_json(architecture).encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().to("cpu", torch.float32).contiguous()
        digest.update(f"\0{name}{tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy().data)
    return digest.hexdigest()


def _architecture_json(architecture: Architecture) -> str:
    return json.dumps(architecture.to_dict(), sort_keys=True, separators=(",", ":"), allow_nan=False)


def _read_own(source: Source) -> Converted:
    version = source.metadata.get("version")
    if version != VERSION:
        raise CheckpointError(
            f"{source.path}: skill-bench format version {version!r}, this program reads {VERSION!r}. "
            "Read it with the skill-bench that wrote it, or a newer one."
        )
    try:
        values = json.loads(source.metadata["architecture"])
    except (KeyError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{source.path}: its header holds no readable architecture ({error}).") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{source.path}: the architecture in its header is not a JSON object.")
    architecture = build_architecture(str(source.path), **values)
    tensors = state_dict(source.content, name="the file", source=str(source.path))
    return Converted(
        architecture=architecture,
        tensors=rename(tensors, architecture, lambda name: name, source=str(source.path)),
        metadata={key: value for key, value in source.metadata.items() if key not in RESERVED},
    )


def build(converted: Converted, source: str) -> Encoder:
    """The encoder of a converted checkpoint: evaluation mode, no gradients; draws no random numbers.

    Raises:
        KeyMismatch: its tensors are not the encoder's.
    """
    with torch.device("meta"):
        encoder = Encoder(converted.architecture)
    expected = set(encoder.state_dict())
    if expected != set(converted.tensors):
        raise KeyMismatch(
            source, missing=expected - set(converted.tensors), unexpected=set(converted.tensors) - expected
        )
    encoder.load_state_dict(converted.tensors, assign=True)
    return encoder.eval().requires_grad_(False)
