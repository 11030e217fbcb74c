"""fairseq's configurations and names, shared by its own files, WavLM's release and s3prl's converted checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from skill_bench.models.architecture import PositionNorm, RelativePosition
from skill_bench.models.convert.shared.foreign import Converted
from skill_bench.models.convert.shared.key_names import MASK_EMBEDDINGS_AND_HEADS, fairseq_names
from skill_bench.models.convert.shared.schema import FairseqConfig, WavLMConfig, read_config
from skill_bench.models.convert.shared.tensors import (
    build_architecture,
    modern_weight_norm,
    rename,
    state_dict,
    without_wrappers,
)

_PRETRAINING = (r"quantizer\..*", r"project_q\..*", r"target_glu\..*", r"_ema(\..*)?")


def convert_fairseq(config: Any, weights: Any, *, normalize: bool | None, name: str, source: str) -> Converted:
    """fairseq's ``model`` configuration and state dict; what a configuration leaves out has fairseq's default.

    Args:
        normalize: what the task says of the waveform; None: the configuration says it, as WavLM's does.
        name: of the state dict in the file.

    Raises:
        CheckpointError: not usable; says why.
    """
    is_wavlm = isinstance(config, Mapping) and "relative_position_embedding" in config
    found = read_config(WavLMConfig if is_wavlm else FairseqConfig, config, source=source)
    relative = None
    if isinstance(found, WavLMConfig):
        relative = RelativePosition(n_buckets=found.num_buckets, max_distance=found.max_distance)
        normalize = found.normalize if normalize is None else normalize
    tensors, notes = without_wrappers(state_dict(weights, name=name, source=source), source=source)
    conv_norm = "layer_norm" if found.extractor_mode == "layer_norm" else "group_norm"
    position_norm: PositionNorm = "batch_norm" if found.conv_pos_batch_norm else "weight_norm"
    kernel, depth = found.conv_pos, found.pos_conv_depth
    if depth > 1:  # fairseq's TransformerEncoder: several short convolutions in place of a long one
        position_norm, kernel = "layer_norm", max(3, found.conv_pos // depth)
    layer = {"heads": tuple(range(found.encoder_attention_heads)), "ffn_dim": found.encoder_ffn_embed_dim}
    architecture = build_architecture(
        source,
        convs=[{"channels": c, "kernel": k, "stride": s} for c, k, s in found.conv_feature_layers],
        conv_bias=found.conv_bias,
        conv_norm=conv_norm,
        dim=found.encoder_embed_dim,
        n_heads=found.encoder_attention_heads,
        head_dim=max(1, found.encoder_embed_dim // found.encoder_attention_heads),
        layers=[layer] * found.encoder_layers,
        position_kernel=kernel,
        position_groups=found.conv_pos_groups,
        position_norm=position_norm,
        position_depth=depth,
        layer_norm_first=found.layer_norm_first,
        normalize_waveform=bool(normalize),
        relative_position=relative,
    )
    renamed = rename(
        modern_weight_norm(tensors),
        architecture,
        fairseq_names(architecture.conv_norm, position_norm),
        source=source,
        may_drop=(*MASK_EMBEDDINGS_AND_HEADS, *_PRETRAINING),
    )
    return Converted(architecture=architecture, tensors=renamed, notes=notes)
