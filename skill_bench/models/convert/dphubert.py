"""DPHuBERT's pruned models and its converted teachers (github.com/pyf98/DPHuBERT, ``save_final_ckpt.py``).

A dict of ``state_dict`` and ``config``; the released files also hold ``distill_linear_projs``, needed in training only.
The configuration is that of its ``wav2vec2/model.py``: HuBERT counts heads, WavLM lists those that remain.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from skill_bench.base.errors import CheckpointError
from skill_bench.models.architecture import Architecture, ConvNorm, ConvShape, LayerShape, RelativePosition
from skill_bench.models.convert.shared.foreign import Converted, Source, config_value, modern_weight_norm, rename
from skill_bench.models.convert.shared.key_names import MASK_EMBEDDINGS_AND_HEADS, torchaudio_names
from skill_bench.models.export.dphubert import METADATA_KEY

NAME = "DPHuBERT (.pth with state_dict and config)"

_BIAS = "encoder.transformer.layers.0.attention.rel_attn_embed.weight"
_DEFAULT_CONVS = [(512, 10, 5), *[(512, 3, 2)] * 4, *[(512, 2, 2)] * 2]


def recognises(source: Source) -> bool:
    """Whether it is a dict of a state dict and DPHuBERT's configuration."""
    config = source.content.get("config")
    return "state_dict" in source.content and isinstance(config, Mapping) and "extractor_mode" in config


def convert(source: Source) -> Converted:
    """Architecture and tensors.

    Raises:
        CheckpointError: of this format, but not usable; says why.
    """
    path, config = str(source.path), source.content["config"]
    tensors = modern_weight_norm(source.content["state_dict"])
    gates = [key for key in tensors if "hard_concrete" in key]
    if gates:
        raise CheckpointError(
            f"{path}: still holds gates ({gates[0]} and {len(gates) - 1} more), so it is not pruned yet. "
            "Run DPHuBERT's prune.py on it first."
        )
    architecture = _architecture(config, tensors, path)
    if architecture.relative_position is not None and _BIAS not in tensors:
        raise CheckpointError(
            f"{path}: a WavLM whose position bias is gone. DPHuBERT keeps it ({_BIAS}) in the first layer's attention, "
            "and that block was pruned away; the other layers' attention cannot be computed without it. "
            "Take the bias from the unpruned model, or prune without removing the first attention block."
        )
    renamed = rename(tensors, architecture, torchaudio_names(), source=path, may_drop=MASK_EMBEDDINGS_AND_HEADS)
    ours = source.content.get(METADATA_KEY)
    metadata = {str(key): str(value) for key, value in ours.items()} if isinstance(ours, Mapping) else {}
    return Converted(architecture=architecture, tensors=renamed, metadata=metadata or {"recipe": "dphubert"})


def _architecture(config: Mapping[str, Any], tensors: Mapping[str, Tensor], path: str) -> Architecture:
    def value(key: str) -> Any:
        return config_value(config, key, source=path)

    dim, n_layers = value("encoder_embed_dim"), value("encoder_num_layers")
    relative = None
    if "encoder_remaining_heads" in config:
        n_heads = value("encoder_total_num_heads")[0]
        head_dim = dim // n_heads
        heads = value("encoder_remaining_heads")
        relative = RelativePosition(n_buckets=value("encoder_num_buckets"), max_distance=value("encoder_max_distance"))
    else:
        head_dim = value("encoder_head_dim")
        n_heads = dim // head_dim
        # Which heads remain is not kept for HuBERT, and nothing depends on it.
        heads = [range(count) for count in value("encoder_num_heads")]
    conv_norm: ConvNorm = value("extractor_mode")
    if conv_norm not in ("group_norm", "layer_norm"):
        raise CheckpointError(f"{path}: extractor_mode = {conv_norm!r}, expected 'group_norm' or 'layer_norm'.")
    columns = (
        heads,
        value("encoder_use_attention"),
        value("encoder_ff_interm_features"),
        value("encoder_use_feed_forward"),
    )
    if {len(column) for column in columns} != {n_layers}:
        found = ", ".join(str(len(column)) for column in columns)
        raise CheckpointError(f"{path}: encoder_num_layers = {n_layers}, but its lists describe {found} layers.")
    convs = value("extractor_conv_layer_config") or _DEFAULT_CONVS
    return Architecture(
        convs=tuple(ConvShape(channels=c, kernel=k, stride=s) for c, k, s in convs),
        conv_bias=value("extractor_conv_bias"),
        conv_norm=conv_norm,
        channel_scale="feature_extractor.dummy_weight" in tensors,
        dim=dim,
        n_heads=n_heads,
        head_dim=head_dim,
        layers=tuple(
            LayerShape(heads=tuple(kept) if attends else (), ffn_dim=ffn if feeds else 0)
            for kept, attends, ffn, feeds in zip(*columns, strict=True)
        ),
        position_kernel=value("encoder_pos_conv_kernel"),
        position_groups=value("encoder_pos_conv_groups"),
        layer_norm_first=value("encoder_layer_norm_first"),
        normalize_waveform=value("normalize_waveform"),
        relative_position=relative,
    )
