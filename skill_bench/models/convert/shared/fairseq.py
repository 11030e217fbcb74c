"""fairseq's configurations, shared by WavLM's release and s3prl's converted checkpoints."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from skill_bench.base.errors import CheckpointError
from skill_bench.models.architecture import Architecture, ConvNorm, ConvShape, LayerShape, RelativePosition
from skill_bench.models.convert.shared.foreign import Converted, modern_weight_norm, rename, require
from skill_bench.models.convert.shared.key_names import MASK_EMBEDDINGS_AND_HEADS, fairseq_names

_CONVS = "[(512,10,5)] + [(512,3,2)] * 4 + [(512,2,2)] * 2"
_PRETRAINING = (r"quantizer\..*", r"project_q\..*", r"target_glu\..*")


def convert_fairseq(
    config: Mapping[str, Any],
    weights: Mapping[str, Tensor],
    *,
    normalize: bool,
    relative_position: RelativePosition | None,
    source: str,
) -> Converted:
    """fairseq's ``model`` configuration and state dict; what a configuration leaves out has fairseq's default."""
    require(
        config,
        {
            "activation_fn": ("gelu",),
            "layer_type": ("transformer",),
            "pos_conv_depth": (1,),
            "conv_pos_batch_norm": (False,),
            "extractor_mode": ("default", "layer_norm"),
        },
        source=source,
    )
    conv_norm: ConvNorm = "layer_norm" if config.get("extractor_mode", "default") == "layer_norm" else "group_norm"
    dim, n_heads = config.get("encoder_embed_dim", 768), config.get("encoder_attention_heads", 12)
    layer = LayerShape(heads=tuple(range(n_heads)), ffn_dim=config.get("encoder_ffn_embed_dim", 3072))
    architecture = Architecture(
        convs=tuple(
            ConvShape(channels=c, kernel=k, stride=s)
            for c, k, s in conv_layers(config.get("conv_feature_layers", _CONVS), source=source)
        ),
        conv_bias=config.get("conv_bias", False),
        conv_norm=conv_norm,
        dim=dim,
        n_heads=n_heads,
        head_dim=dim // n_heads,
        layers=(layer,) * config.get("encoder_layers", 12),
        position_kernel=config.get("conv_pos", 128),
        position_groups=config.get("conv_pos_groups", 16),
        layer_norm_first=config.get("layer_norm_first", False),
        normalize_waveform=normalize,
        relative_position=relative_position,
    )
    tensors = rename(
        modern_weight_norm(weights),
        architecture,
        fairseq_names(conv_norm),
        source=source,
        may_drop=(*MASK_EMBEDDINGS_AND_HEADS, *_PRETRAINING),
    )
    return Converted(architecture=architecture, tensors=tensors)


def conv_layers(text: str, *, source: str) -> list[tuple[int, int, int]]:
    """fairseq writes the convolutions as Python: lists of (channels, kernel, stride), ``+`` and ``* n``. Read, not run.

    Raises:
        CheckpointError: anything else.
    """
    try:
        layers = _list_of(ast.parse(text, mode="eval").body)
        return [(channels, kernel, stride) for channels, kernel, stride in layers]
    except (SyntaxError, ValueError, TypeError) as error:
        raise CheckpointError(f"{source}: conv_feature_layers = {text!r} cannot be read ({error}).") from error


def _list_of(node: ast.expr) -> list[tuple[int, ...]]:
    match node:
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _list_of(left) + _list_of(right)
        case ast.BinOp(left=left, op=ast.Mult(), right=ast.Constant(value=int(times))):
            return _list_of(left) * times
        case ast.List(elts=elements):
            return [_triple(element) for element in elements]
    raise ValueError("expected lists, + and * n")


def _triple(node: ast.expr) -> tuple[int, ...]:
    numbers = ast.literal_eval(node)
    if not isinstance(numbers, tuple) or len(numbers) != 3 or not all(type(n) is int for n in numbers):
        raise ValueError(f"expected (channels, kernel, stride), found {numbers!r}")
    return numbers
