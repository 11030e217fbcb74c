"""Encoders of any shape, for property tests."""

from __future__ import annotations

import torch
from hypothesis import strategies as st

from skill_bench.models.architecture import Architecture, ConvShape, LayerShape, PositionNorm, RelativePosition
from skill_bench.models.encoder import Encoder

N_HEADS, HEAD_DIM = 4, 8


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
