"""Named sizes: thin calls of one explicit function."""

from __future__ import annotations

from skill_bench.models.architecture import Architecture, ConvNorm, ConvShape, LayerShape, RelativePosition
from skill_bench.models.encoder import Encoder

KERNELS_AND_STRIDES = ((10, 5), (3, 2), (3, 2), (3, 2), (3, 2), (2, 2), (2, 2))
WAVLM_POSITION = RelativePosition(n_buckets=320, max_distance=800)


def architecture(
    *,
    channels: int,
    dim: int,
    n_layers: int,
    n_heads: int,
    ffn_dim: int,
    large: bool = False,
    conv_bias: bool = False,
    relative_position: RelativePosition | None = None,
    position_kernel: int = 128,
    position_groups: int = 16,
) -> Architecture:
    """A uniform architecture; ``large`` = layer-norm front end, pre-norm layers, normalised waveform."""
    conv_norm: ConvNorm = "layer_norm" if large else "group_norm"
    return Architecture(
        convs=tuple(
            ConvShape(channels=channels, kernel=kernel, stride=stride) for kernel, stride in KERNELS_AND_STRIDES
        ),
        conv_bias=conv_bias,
        conv_norm=conv_norm,
        dim=dim,
        n_heads=n_heads,
        head_dim=dim // n_heads,
        layers=tuple(LayerShape(heads=tuple(range(n_heads)), ffn_dim=ffn_dim) for _ in range(n_layers)),
        position_kernel=position_kernel,
        position_groups=position_groups,
        layer_norm_first=large,
        normalize_waveform=large,
        relative_position=relative_position,
    )


def hubert_base() -> Encoder:
    """HuBERT Base and wav2vec 2.0 Base: 94,370,944 parameters (without the mask embedding)."""
    return Encoder(architecture(channels=512, dim=768, n_layers=12, n_heads=12, ffn_dim=3072))


def hubert_large() -> Encoder:
    """HuBERT Large and wav2vec 2.0 Large (LV-60k)."""
    return Encoder(
        architecture(channels=512, dim=1024, n_layers=24, n_heads=16, ffn_dim=4096, large=True, conv_bias=True)
    )


def wavlm_base() -> Encoder:
    """WavLM Base and Base+: 94,381,168 parameters (without the mask embedding)."""
    return Encoder(
        architecture(channels=512, dim=768, n_layers=12, n_heads=12, ffn_dim=3072, relative_position=WAVLM_POSITION)
    )


def wavlm_large() -> Encoder:
    """WavLM Large; unlike HuBERT Large its convolutions have no bias."""
    return Encoder(
        architecture(
            channels=512, dim=1024, n_layers=24, n_heads=16, ffn_dim=4096, large=True, relative_position=WAVLM_POSITION
        )
    )
