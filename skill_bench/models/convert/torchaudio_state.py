"""State dicts of torchaudio.models (wav2vec2_*, hubert_*, wavlm_*) and of its pipelines' bundles.

They carry no configuration: the architecture follows from the shapes of the tensors. What shapes do not tell (strides,
number of heads, distance of WavLM's last bucket, waveform normalisation) is taken from the published models, and a
file that is not one of their kind is refused rather than guessed.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from skill_bench.base.errors import CheckpointError
from skill_bench.models.architecture import Architecture, ConvShape, LayerShape
from skill_bench.models.convert.shared.foreign import Converted, Source, modern_weight_norm, rename, without_prefix
from skill_bench.models.convert.shared.key_names import MASK_EMBEDDINGS_AND_HEADS, torchaudio_names
from skill_bench.models.factories import KERNELS_AND_STRIDES, WAVLM_POSITION

NAME = "torchaudio (state dict of torchaudio.models wav2vec2_*, hubert_*, wavlm_*)"

_MARK = "encoder.feature_projection.projection.weight"
_PREFIXES = ("model.", "wav2vec2.")
_LAYER = "encoder.transformer.layers.{}"
HEADS_OF_DIM = {768: 12, 1024: 16, 1280: 16, 1920: 16}
_ADVICE = "Save {'state_dict': ..., 'config': ...} with DPHuBERT's configuration keys instead."


def recognises(source: Source) -> bool:
    """Whether it has torchaudio's feature projection, and no configuration."""
    return any(key.endswith(_MARK) for key in _state_dict(source))


def convert(source: Source) -> Converted:
    """Architecture and tensors.

    Raises:
        CheckpointError: of this format, but not usable; says why.
    """
    path = str(source.path)
    tensors = without_prefix(_state_dict(source), _PREFIXES, source=path)
    tensors = _split_attention_projections(modern_weight_norm(tensors))
    architecture = infer_architecture(tensors, path)
    names = torchaudio_names()
    return Converted(
        architecture=architecture,
        tensors=rename(tensors, architecture, names, source=path, may_drop=MASK_EMBEDDINGS_AND_HEADS),
    )


def _state_dict(source: Source) -> dict[str, Tensor]:
    # Training scripts wrap it; with a configuration beside it, it is another format.
    wrapped = source.content.get("state_dict")
    content = wrapped if isinstance(wrapped, Mapping) and "config" not in source.content else source.content
    return {key: value for key, value in content.items() if isinstance(value, Tensor)}


def _split_attention_projections(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """torchaudio's WavLM wraps nn.MultiheadAttention, which keeps query, key and value in one matrix."""
    split = {}
    for key, tensor in tensors.items():
        outer, inner, tail = key.partition(".attention.attention.")
        if not inner:
            split[key] = tensor
        elif tail.startswith("in_proj_"):
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
    convs = _count(tensors, "feature_extractor.conv_layers.{}.conv.weight")
    n_layers = _count(tensors, _LAYER + ".final_layer_norm.weight")
    position = tensors.get("encoder.transformer.pos_conv_embed.conv.parametrizations.weight.original1")
    if not convs or not n_layers or position is None:
        raise CheckpointError(f"{source}: convolutions, layers or the positional convolution are missing. {_ADVICE}")
    weights = [tensors[f"feature_extractor.conv_layers.{i}.conv.weight"] for i in range(convs)]
    kernels = tuple(weight.shape[2] for weight in weights)
    published = tuple(kernel for kernel, _ in KERNELS_AND_STRIDES)
    if kernels != published:
        raise CheckpointError(f"{source}: convolution kernels {kernels}, not {published}: strides unknown. {_ADVICE}")
    dim = tensors[_MARK].shape[0]
    bias = tensors.get(_LAYER.format(0) + ".attention.rel_attn_embed.weight")
    if bias is not None and bias.shape[0] != WAVLM_POSITION.n_buckets:
        raise CheckpointError(f"{source}: {bias.shape[0]} position buckets, not {WAVLM_POSITION.n_buckets}. {_ADVICE}")
    n_heads = HEADS_OF_DIM.get(dim) if bias is None else bias.shape[1]
    if n_heads is None:
        known = ", ".join(map(str, HEADS_OF_DIM))
        raise CheckpointError(f"{source}: width {dim} is not a published one ({known}): heads unknown. {_ADVICE}")
    large = "feature_extractor.conv_layers.1.layer_norm.weight" in tensors
    return Architecture(
        convs=tuple(
            ConvShape(channels=weight.shape[0], kernel=kernel, stride=stride)
            for weight, (kernel, stride) in zip(weights, KERNELS_AND_STRIDES, strict=True)
        ),
        conv_bias="feature_extractor.conv_layers.0.conv.bias" in tensors,
        conv_norm="layer_norm" if large else "group_norm",
        dim=dim,
        n_heads=n_heads,
        head_dim=dim // n_heads,
        layers=tuple(_layer_shape(tensors, i, n_heads=n_heads, dim=dim, source=source) for i in range(n_layers)),
        position_kernel=position.shape[2],
        position_groups=position.shape[0] // position.shape[1],
        # All published models with a layer-norm front end are pre-norm and were trained on normalised waveforms.
        layer_norm_first=large,
        normalize_waveform=large,
        relative_position=None if bias is None else WAVLM_POSITION,
    )


def _count(tensors: Mapping[str, Tensor], template: str) -> int:
    count = 0
    while template.format(count) in tensors:
        count += 1
    return count


def _layer_shape(tensors: Mapping[str, Tensor], index: int, *, n_heads: int, dim: int, source: str) -> LayerShape:
    query = tensors.get(_LAYER.format(index) + ".attention.q_proj.weight")
    ffn = tensors.get(_LAYER.format(index) + ".feed_forward.intermediate_dense.weight")
    if query is None or ffn is None or query.shape[0] != dim:
        raise CheckpointError(
            f"{source}: layer {index} is pruned, and which heads it keeps is not in the file. {_ADVICE}"
        )
    return LayerShape(heads=tuple(range(n_heads)), ffn_dim=ffn.shape[0])
