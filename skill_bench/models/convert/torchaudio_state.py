"""State dicts of torchaudio.models (wav2vec2_*, hubert_*, wavlm_*) and of its pipelines' bundles.

They carry no configuration: the architecture follows from the shapes of the tensors. What shapes do not tell (strides,
number of heads, distance of WavLM's last bucket, waveform normalisation) is taken from the published models, and a
file that is not one of their kind is refused rather than guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from skill_bench.base.errors import CheckpointError
from skill_bench.models.architecture import Architecture
from skill_bench.models.convert.shared.foreign import Converted, Source
from skill_bench.models.convert.shared.key_names import MASK_EMBEDDINGS_AND_HEADS, torchaudio_names
from skill_bench.models.convert.shared.tensors import (
    build_architecture,
    modern_weight_norm,
    rename,
    without_wrappers,
)
from skill_bench.models.factories import KERNELS_AND_STRIDES, WAVLM_POSITION

NAME = "torchaudio (state dict of torchaudio.models wav2vec2_*, hubert_*, wavlm_*)"

_MARK = "encoder.feature_projection.projection.weight"
_OTHER = "wavlm_model."  # DiariZen's
_CONV = "feature_extractor.conv_layers.{}.conv.weight"
_POSITION = "encoder.transformer.pos_conv_embed.conv.parametrizations.weight.original1"
_LAYER = "encoder.transformer.layers.{}"
HEADS_OF_DIM = {768: 12, 1024: 16, 1280: 16, 1920: 16}
_ADVICE = "Save {'state_dict': ..., 'config': ...} with DPHuBERT's configuration keys instead."


def recognises(source: Source) -> bool:
    """Whether it has torchaudio's feature projection, and no configuration."""
    return any(key.endswith(_MARK) and not key.startswith(_OTHER) for key in _state_dict(source))


def convert(source: Source) -> Converted:
    """Architecture and tensors.

    Raises:
        CheckpointError: of this format, but not usable; says why.
    """
    path = str(source.path)
    tensors, notes = without_wrappers(_state_dict(source), source=path)
    if _MARK not in tensors:
        around = next(key.removesuffix(_MARK) for key in tensors if key.endswith(_MARK))
        raise CheckpointError(
            f"{path}: all names begin with {around!r}: another model is around this one. Save its own state_dict."
        )
    tensors = _split_attention_projections(modern_weight_norm(tensors))
    architecture = infer_architecture(tensors, path)
    names = torchaudio_names()
    return Converted(
        architecture=architecture,
        tensors=rename(tensors, architecture, names, source=path, may_drop=MASK_EMBEDDINGS_AND_HEADS),
        notes=notes,
    )


def _state_dict(source: Source) -> dict[str, Tensor]:
    # Training scripts wrap it; with a configuration beside it, it is another format.
    wrapped = source.content.get("state_dict")
    content = wrapped if isinstance(wrapped, Mapping) and "config" not in source.content else source.content
    return {key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, Tensor)}


def _split_attention_projections(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """torchaudio's WavLM wraps nn.MultiheadAttention, which keeps query, key and value in one matrix."""
    split = {}
    for key, tensor in tensors.items():
        outer, inner, tail = key.partition(".attention.attention.")
        if not inner:
            split[key] = tensor
        elif tail.startswith("in_proj_") and tensor.ndim > 0 and tensor.shape[0] % 3 == 0:
            for name, part in zip("qkv", tensor.chunk(3), strict=True):
                split[f"{outer}.attention.{name}_proj.{tail.removeprefix('in_proj_')}"] = part
        else:
            split[f"{outer}.attention.{tail}"] = tensor
    return split


def infer_architecture(tensors: Mapping[str, Tensor], source: str) -> Architecture:
    """What the shapes say, and for the rest the published models.

    Raises:
        CheckpointError: not shaped like a published model.
    """
    n_convs = _count(tensors, _CONV)
    n_layers = _count(tensors, _LAYER + ".final_layer_norm.weight")
    if not n_convs or not n_layers:
        raise CheckpointError(f"{source}: convolutions or layers are missing. {_ADVICE}")
    weights = [_shape(tensors, _CONV.format(i), 3, source) for i in range(n_convs)]
    kernels = tuple(kernel for _, _, kernel in weights)
    published = tuple(kernel for kernel, _ in KERNELS_AND_STRIDES)
    if kernels != published:
        raise CheckpointError(f"{source}: convolution kernels {kernels}, not {published}: strides unknown. {_ADVICE}")
    width, per_group, position_kernel = _shape(tensors, _POSITION, 3, source)
    dim, _ = _shape(tensors, _MARK, 2, source)
    relative = _LAYER.format(0) + ".attention.rel_attn_embed.weight" in tensors
    if relative:
        n_buckets, n_heads = _shape(tensors, _LAYER.format(0) + ".attention.rel_attn_embed.weight", 2, source)
        if n_buckets != WAVLM_POSITION.n_buckets:
            raise CheckpointError(f"{source}: {n_buckets} position buckets, not {WAVLM_POSITION.n_buckets}. {_ADVICE}")
    elif dim in HEADS_OF_DIM:
        n_heads = HEADS_OF_DIM[dim]
    else:
        known = ", ".join(map(str, HEADS_OF_DIM))
        raise CheckpointError(f"{source}: width {dim} is not a published one ({known}): heads unknown. {_ADVICE}")
    large = "feature_extractor.conv_layers.1.layer_norm.weight" in tensors
    return build_architecture(
        source,
        convs=[
            {"channels": channels, "kernel": kernel, "stride": stride}
            for (channels, _, _), (kernel, stride) in zip(weights, KERNELS_AND_STRIDES, strict=True)
        ],
        conv_bias="feature_extractor.conv_layers.0.conv.bias" in tensors,
        conv_norm="layer_norm" if large else "group_norm",
        channel_scale="feature_extractor.dummy_weight" in tensors,  # of DPHuBERT and DiariZen
        dim=dim,
        n_heads=n_heads,
        head_dim=dim // n_heads,
        layers=[_layer_shape(tensors, i, n_heads=n_heads, dim=dim, source=source) for i in range(n_layers)],
        position_kernel=position_kernel,
        position_groups=width // per_group,
        # All published models with a layer-norm front end are pre-norm and were trained on normalised waveforms.
        layer_norm_first=large,
        normalize_waveform=large,
        relative_position=WAVLM_POSITION if relative else None,
    )


def _shape(tensors: Mapping[str, Any], name: str, n: int, source: str) -> tuple[int, ...]:
    """The shape of a weight that the architecture follows from: ``n`` sizes, none of them 0."""
    if name not in tensors:
        raise CheckpointError(f"{source}: {name} is missing. {_ADVICE}")
    shape = tuple(tensors[name].shape)
    if len(shape) != n or 0 in shape:
        raise CheckpointError(f"{source}: {name} has shape {shape}, expected {n} sizes above 0. Get the file again.")
    return shape


def _count(tensors: Mapping[str, Tensor], template: str) -> int:
    count = 0
    while template.format(count) in tensors:
        count += 1
    return count


def _layer_shape(tensors: Mapping[str, Any], index: int, *, n_heads: int, dim: int, source: str) -> dict[str, Any]:
    query, ffn = (
        tensors.get(f"{_LAYER.format(index)}.{name}.weight")
        for name in ("attention.q_proj", "feed_forward.intermediate_dense")
    )
    if query is None or ffn is None or query.ndim != 2 or query.shape[0] != dim or ffn.ndim != 2:
        raise CheckpointError(
            f"{source}: layer {index} is pruned, and which heads it keeps is not in the file. {_ADVICE}"
        )
    return {"heads": tuple(range(n_heads)), "ffn_dim": ffn.shape[0]}
