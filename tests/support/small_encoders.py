"""Encoders of any shape, for property tests, and a small pruned student with its .onnx file, for what is deployed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnx
import torch
from hypothesis import strategies as st

from skill_bench.models import checkpoint
from skill_bench.models.architecture import Architecture, ConvShape, LayerShape, PositionNorm, RelativePosition
from skill_bench.models.encoder import Encoder
from skill_bench.models.export import onnx_file
from skill_bench.models.factories import WAVLM_POSITION, architecture
from skill_bench.models.onnx_file import Precision

N_HEADS, HEAD_DIM = 4, 8
WHOLE = architecture(
    channels=16, dim=32, n_layers=3, n_heads=4, ffn_dim=20, relative_position=WAVLM_POSITION, position_kernel=16,
    position_groups=4,
)  # fmt: skip
PRUNED = replace(
    WHOLE,
    layers=(LayerShape(heads=(1, 3), ffn_dim=5), LayerShape(heads=(), ffn_dim=9), LayerShape(heads=(2,), ffn_dim=0)),
)
METADATA = {"title": "Small", "teacher": "teacher", "licence": "CC0", "precision": "bf16"}


@st.composite
def architectures(draw: st.DrawFn) -> Architecture:
    heads = st.sets(st.integers(0, N_HEADS - 1)).map(lambda kept: tuple(sorted(kept)))
    layers = st.lists(
        st.builds(LayerShape, heads=heads, ffn_dim=st.sampled_from([0, 1, 7, 20])), min_size=1, max_size=3
    )
    channels = draw(st.lists(st.integers(1, 9), min_size=7, max_size=7))
    kernels = ((10, 5), (3, 2), (3, 2), (3, 2), (3, 2), (2, 2), (2, 2))
    norm: PositionNorm = draw(st.sampled_from(["weight_norm", "batch_norm", "layer_norm"]))
    return Architecture(
        convs=tuple(ConvShape(channels=c, kernel=k, stride=s) for c, (k, s) in zip(channels, kernels, strict=True)),
        conv_bias=draw(st.booleans()),
        conv_norm=draw(st.sampled_from(["group_norm", "layer_norm"])),
        channel_scale=draw(st.booleans()),
        dim=N_HEADS * HEAD_DIM,
        n_heads=N_HEADS,
        head_dim=HEAD_DIM,
        layers=tuple(draw(layers)),
        projection_norm=draw(st.booleans()),
        position_kernel=draw(st.sampled_from([7, 16])),
        position_groups=4,
        position_norm=norm,
        position_depth=draw(st.sampled_from([1, 2, 5])) if norm == "layer_norm" else 1,
        layer_norm_first=draw(st.booleans()),
        normalize_waveform=draw(st.booleans()),
        normalize_eps=draw(st.sampled_from([1e-5, 1e-7])),
        relative_position=draw(st.sampled_from([None, RelativePosition(n_buckets=16, max_distance=20)])),
    )


def awake(encoder: Encoder) -> Encoder:
    """Moves the weights far from their small initial values, so that every block has its say."""
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return encoder.eval()


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
