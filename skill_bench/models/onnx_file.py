"""An encoder in one .onnx file: what the file says of itself, and the one way to read it back.

The file explains itself to whoever deploys it: every entry of its metadata is a plain string. `export/onnx_file.py`
writes it; nothing in it is trusted when it is read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import onnx
import torch
from google.protobuf.message import DecodeError
from onnx import TensorProto, ValueInfoProto
from pydantic import Field, ValidationError

from skill_bench.base.documents import parse_json
from skill_bench.base.errors import CheckpointError, UnknownFormat, first_few
from skill_bench.base.sample_rate import SAMPLE_RATE_HZ
from skill_bench.base.specs import Frozen, Positive, Weight
from skill_bench.models.architecture import Architecture
from skill_bench.models.convert.shared.tensors import build_architecture
from skill_bench.models.encoder import Encoder
from skill_bench.models.export.onnx import INPUT, MOST_BYTES
from skill_bench.models.invalid import describe, shown
from skill_bench.models.size import size_of

FORMAT, VERSION = "skill-bench graph", "1"
Precision = Literal["float32", "int8", "int8-static"]
Heard = Literal["noise", "speech", "held-out speech", "calibration speech"]


class Parity(Frozen):
    """How far a graph's hidden states are from the encoder's, on one waveform.

    Attributes:
        n_samples: Of the waveform.
        largest: Largest absolute difference of any number of any hidden state.
        relative: Length of the difference by length of the state, of the hidden state where that is largest.
    """

    n_samples: Positive
    largest: Weight
    relative: Weight


class Stated(Frozen):
    """What a graph does not show by itself.

    Attributes:
        precision: Of the weights of its linear layers.
        checkpoint_sha256: The encoder's, as `skill_bench.models.checkpoint.load` reports it.
        parity: By precision, its differences from the encoder when it was written; a quantised graph has its float32
            origin's beside its own.
        parity_on: What was heard for that. Where ranges were learnt from speech, other utterances of it; of a single
            one, the same.
        checkpoint: What came with the checkpoint: title, teacher, licence, recipe...
    """

    precision: Precision
    checkpoint_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    parity: dict[Precision, tuple[Parity, ...]]
    parity_on: Heard
    checkpoint: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class OnnxFile:
    """A graph and what it says of itself.

    Attributes:
        content: The whole file; what a runtime is given.
        sha256: Of the graph with its weights, without its metadata: the same for the same graph under another title.
        architecture: Of the encoder that it computes.
        opset: Of ONNX's default domain.
    """

    path: Path
    content: bytes
    sha256: str
    architecture: Architecture
    stated: Stated
    opset: int


def described(architecture: Architecture, stated: Stated) -> dict[str, str]:
    """The metadata of a file, all of it text."""
    said = _derived(architecture, stated) | {"format": FORMAT, "version": VERSION}
    for name, value in (stated.model_dump(mode="json") | {"architecture": architecture.to_dict()}).items():
        said[name] = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), allow_nan=False)
    return said


def read(path: Path) -> OnnxFile:
    """The file, checked.

    Raises:
        UnknownFormat: an ONNX file of another program.
        CheckpointError: missing, damaged, too large, with weights elsewhere, or not what it says it is.
    """
    content = _content(path)
    model = _parsed(path, content)
    _require_whole(path, model)
    said = {entry.key: entry.value for entry in model.metadata_props}
    if said.get("format") != FORMAT:
        raise UnknownFormat(
            f"{path}: an ONNX file without skill-bench's description (made by {_producer(model)}; takes "
            f"{_few(_values(_inputs(model)))}; gives {_few(_values(model.graph.output))}), so its lengths and hidden "
            "states are not known. Export the checkpoint that it was made from with `skill-bench export --format "
            "onnx`; to score this very graph, let an upstream of your own run it: `skill-bench upstream new`."
        )
    if said.get("version") != VERSION:
        raise CheckpointError(
            f"{path}: skill-bench graph version {shown(said.get('version'))}, this program reads {VERSION!r}. "
            "Read it with the skill-bench that wrote it, or export it again."
        )
    architecture, stated = _description(path, said)
    _require_interface(path, model, architecture)
    opset = next((one.version for one in model.opset_import if one.domain in ("", "ai.onnx")), 0)
    del model.metadata_props[:]
    return OnnxFile(
        path=path,
        content=content,
        sha256=hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest(),
        architecture=architecture,
        stated=stated,
        opset=opset,
    )


def _derived(architecture: Architecture, stated: Stated) -> dict[str, str]:
    """What follows from the rest, for people and for programs that know nothing of it."""
    with torch.device("meta"):
        n_parameters = size_of(Encoder(architecture))
    named = {name: stated.checkpoint[name] for name in ("title", "teacher", "licence") if name in stated.checkpoint}
    return named | {
        "family": architecture.family,
        "n_parameters": str(n_parameters),
        "sample_rate_hz": str(SAMPLE_RATE_HZ),
        "shortest_samples": str(architecture.receptive_field_samples),
        "samples_per_frame": str(architecture.hop_samples),
        "n_hidden_states": str(len(architecture.layers) + 1),
        "dim": str(architecture.dim),
    }


def _content(path: Path) -> bytes:
    try:
        if (size := path.stat().st_size) > MOST_BYTES:
            raise CheckpointError(
                f"{path}: {size / 1e9:.2f} GB, and one ONNX file holds 2.15 GB at most, so this is none. Get the file "
                "again, or export the model anew: smaller, or in 8 bits (--quantise)."
            )
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}). Check the path.") from error


def _parsed(path: Path, content: bytes) -> onnx.ModelProto:
    try:
        model: onnx.ModelProto = onnx.ModelProto.FromString(content)
    except (DecodeError, RecursionError) as error:
        raise CheckpointError(
            f"{path}: cannot be read as ONNX ({error}); truncated, damaged, or not one. Get the file again."
        ) from error
    if not model.graph.node:
        raise CheckpointError(f"{path}: holds no graph; empty, damaged, or not ONNX. Get the file again.")
    return model


def _require_whole(path: Path, model: onnx.ModelProto) -> None:
    """Weights in files beside it are not read: a path in a model may lead anywhere."""
    constants = [attribute.t for node in model.graph.node for attribute in node.attribute if attribute.HasField("t")]
    weights = [*model.graph.initializer, *constants]
    outside = [one.name for one in weights if one.data_location == TensorProto.EXTERNAL]
    if outside:
        raise CheckpointError(
            f"{path}: {len(outside)} of its weights are in other files ({first_few(outside, most=2)}), and one file "
            "was expected. Save it whole (onnx.save_model(..., save_as_external_data=False)), or export it again."
        )


def _description(path: Path, said: Mapping[str, str]) -> tuple[Architecture, Stated]:
    try:
        values = parse_json(said["architecture"])
        if not isinstance(values, dict):
            raise ValueError(f"an architecture that is a {type(values).__name__}, expected a JSON object")
        texts = {name: said[name] for name in Stated.model_fields}
        stated = Stated.model_validate(texts | {name: parse_json(said[name]) for name in ("parity", "checkpoint")})
    except KeyError as error:
        raise CheckpointError(f"{path}: its description lacks {error}. Export it again.") from error
    except ValidationError as error:
        raise CheckpointError(f"{path}: its description cannot be read: {describe(error)}. Export it again.") from error
    except ValueError as error:
        raise CheckpointError(f"{path}: its description cannot be read ({error}). Export it again.") from error
    architecture = build_architecture(str(path), **values)
    for name, expected in _derived(architecture, stated).items():
        if said.get(name) != expected:
            raise CheckpointError(
                f"{path}: it says {name} = {shown(said.get(name))}, expected {expected!r}: it was changed after it was "
                "exported. Export it again."
            )
    return architecture, stated


def _require_interface(path: Path, model: onnx.ModelProto, architecture: Architecture) -> None:
    states = [f"'h{index}' float32 (1, frames, {architecture.dim})" for index in range(len(architecture.layers) + 1)]
    for what, values, expected in (
        ("takes", _inputs(model), [f"{INPUT!r} float32 (1, samples)"]),
        ("gives", model.graph.output, states),
    ):
        if (found := _values(values)) != expected:
            raise CheckpointError(
                f"{path}: it {what} {_few(found)}, expected {_few(expected)}: it was changed after it was exported, or "
                "is another model under this one's description. Export it again."
            )


def _inputs(model: onnx.ModelProto) -> list[ValueInfoProto]:
    weights = {one.name for one in model.graph.initializer}
    return [one for one in model.graph.input if one.name not in weights]


def _values(values: Iterable[ValueInfoProto]) -> list[str]:
    """Name, type and shape of each: ``'waveform' float32 (1, samples)``."""
    return [_value(value) for value in values]


def _few(values: list[str]) -> str:
    return first_few(values, most=3) or "nothing"


def _value(value: ValueInfoProto) -> str:
    tensor = value.type.tensor_type
    kind = TensorProto.DataType.Name(tensor.elem_type).lower() if tensor.elem_type in _KINDS else "no tensor"
    sizes = (dim.dim_param or (str(dim.dim_value) if dim.HasField("dim_value") else "?") for dim in tensor.shape.dim)
    return f"{value.name[:40]!r} {'float32' if kind == 'float' else kind} ({', '.join(sizes)})"


_KINDS = frozenset(TensorProto.DataType.values())


def _producer(model: onnx.ModelProto) -> str:
    return f"{model.producer_name} {model.producer_version}".strip() or "an unknown program"
