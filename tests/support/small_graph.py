"""A small pruned student and its .onnx file, for tests of what is deployed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnx
import torch
from random_architectures import awake

from skill_bench.models import checkpoint
from skill_bench.models.architecture import LayerShape
from skill_bench.models.encoder import Encoder
from skill_bench.models.export import onnx_file
from skill_bench.models.factories import WAVLM_POSITION, architecture
from skill_bench.models.onnx_file import Precision

WHOLE = architecture(
    channels=16, dim=32, n_layers=3, n_heads=4, ffn_dim=20, relative_position=WAVLM_POSITION, position_kernel=16,
    position_groups=4,
)  # fmt: skip
PRUNED = replace(
    WHOLE,
    layers=(LayerShape(heads=(1, 3), ffn_dim=5), LayerShape(heads=(), ffn_dim=9), LayerShape(heads=(2,), ffn_dim=0)),
)
METADATA = {"title": "Small", "teacher": "teacher", "licence": "CC0", "precision": "bf16"}


def small_checkpoint(path: Path) -> Path:
    """Random weights, far from their initial ones."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        checkpoint.save(awake(Encoder(PRUNED)), path, metadata=METADATA)
    return path


def small_graph(
    path: Path, precision: Precision = "float32", *, title: str | None = None, from_file: Path | None = None
) -> Path:
    """The file of `small_checkpoint`, or of another one."""
    loaded = checkpoint.load(from_file or small_checkpoint(path.with_suffix(".safetensors")))
    speech = [0.1 * torch.randn(8000, generator=torch.Generator().manual_seed(n)) for n in range(3)]
    metadata = loaded.metadata | ({} if title is None else {"title": title})
    onnx_file.write(
        loaded, path, metadata=metadata, precision=precision, speech=speech if precision == "int8-static" else ()
    )
    return path


def model_in(path: Path) -> onnx.ModelProto:
    """What the file holds, to be changed."""
    return onnx.load(path)


def properties(model: onnx.ModelProto) -> dict[str, str]:
    """The metadata of a graph."""
    return {entry.key: entry.value for entry in model.metadata_props}
