"""DPHuBERT's pruned models and its converted teachers (github.com/pyf98/DPHuBERT, ``save_final_ckpt.py``).

A dict of ``state_dict`` and ``config``; the released files also hold ``distill_linear_projs``, needed in training only.
The configuration is that of its ``wav2vec2/model.py``: HuBERT counts heads, WavLM lists those that remain. DiariZen's
pruned WavLM (github.com/BUTSpeechFIT/DiariZen, ``recipes/diar_ssl_pruning/apply_pruning.py``) is the same format.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from skill_bench.base.errors import CheckpointError
from skill_bench.models.architecture import Architecture
from skill_bench.models.convert.shared.foreign import Converted, Source
from skill_bench.models.convert.shared.key_names import MASK_EMBEDDINGS_AND_HEADS, torchaudio_names
from skill_bench.models.convert.shared.schema import (
    DPHuBERTConfig,
    DPHuBERTHubertConfig,
    DPHuBERTWavLMConfig,
    read_config,
)
from skill_bench.models.convert.shared.tensors import (
    build_architecture,
    modern_weight_norm,
    rename,
    state_dict,
    without_wrappers,
)
from skill_bench.models.export.dphubert import METADATA_KEY

NAME = "DPHuBERT and DiariZen's pruned WavLM (.pth, .bin with state_dict and config)"

_MARKS = {"extractor_mode", "encoder_use_attention"}
_BIAS = "encoder.transformer.layers.0.attention.rel_attn_embed.weight"


def recognises(source: Source) -> bool:
    """Whether it is a dict of a state dict and DPHuBERT's configuration."""
    config = source.content.get("config")
    return "state_dict" in source.content and isinstance(config, Mapping) and set(config) >= _MARKS


def convert(source: Source) -> Converted:
    """Architecture and tensors.

    Raises:
        CheckpointError: of this format, but not usable; says why.
    """
    path, config = str(source.path), source.content["config"]
    tensors, notes = without_wrappers(
        state_dict(source.content["state_dict"], name="state_dict", source=path), source=path
    )
    tensors = modern_weight_norm(tensors)
    gates = [key for key in tensors if "hard_concrete" in key]
    if gates:
        raise CheckpointError(
            f"{path}: still holds gates ({gates[0]} and {len(gates) - 1} more), so it is not pruned yet. "
            "Run DPHuBERT's prune.py on it first (DiariZen: apply_pruning.py)."
        )
    architecture = _architecture(config, tensors, path)
    if architecture.relative_position is not None and not architecture.layers[0].heads and _BIAS not in tensors:
        raise CheckpointError(
            f"{path}: a WavLM whose position bias is gone. DPHuBERT keeps it ({_BIAS}) in the first layer's attention, "
            "and that block was pruned away; the other layers' attention cannot be computed without it. "
            "Take the bias from the unpruned model, or prune without removing the first attention block."
        )
    renamed = rename(tensors, architecture, torchaudio_names(), source=path, may_drop=MASK_EMBEDDINGS_AND_HEADS)
    ours = source.content.get(METADATA_KEY)
    metadata = {str(k): v for k, v in ours.items() if isinstance(v, str)} if isinstance(ours, Mapping) else {}
    return Converted(
        architecture=architecture, tensors=renamed, metadata=metadata or {"recipe": "dphubert"}, notes=notes
    )


def _architecture(config: Mapping[str, Any], tensors: Mapping[str, Any], path: str) -> Architecture:
    heads: list[tuple[int, ...]]
    if config.get("encoder_remaining_heads") is not None:
        wavlm = read_config(DPHuBERTWavLMConfig, config, source=path)
        found: DPHuBERTConfig = wavlm
        n_heads, *others = wavlm.encoder_total_num_heads
        if set(others) - {n_heads}:
            raise CheckpointError(f"{path}: encoder_total_num_heads differs between layers, expected one number.")
        head_dim, heads = max(1, found.encoder_embed_dim // n_heads), list(wavlm.encoder_remaining_heads)
        relative = {"n_buckets": wavlm.encoder_num_buckets, "max_distance": wavlm.encoder_max_distance}
    else:
        found = hubert = read_config(DPHuBERTHubertConfig, config, source=path)
        head_dim, relative = hubert.encoder_head_dim, None
        n_heads = found.encoder_embed_dim // head_dim
        # Which heads remain is not kept for HuBERT, and nothing depends on it.
        heads = [tuple(range(count)) for count in hubert.encoder_num_heads]
    columns = (heads, found.encoder_use_attention, found.encoder_ff_interm_features, found.encoder_use_feed_forward)
    if {len(column) for column in columns} != {found.encoder_num_layers}:
        lengths = ", ".join(str(len(column)) for column in columns)
        raise CheckpointError(
            f"{path}: encoder_num_layers = {found.encoder_num_layers}, but its lists describe {lengths} layers."
        )
    return build_architecture(
        path,
        convs=[{"channels": c, "kernel": k, "stride": s} for c, k, s in found.convs],
        conv_bias=found.extractor_conv_bias,
        conv_norm=found.extractor_mode,
        channel_scale="feature_extractor.dummy_weight" in tensors,
        dim=found.encoder_embed_dim,
        n_heads=n_heads,
        head_dim=head_dim,
        layers=[
            {"heads": kept if attends else (), "ffn_dim": ffn if feeds else 0}
            for kept, attends, ffn, feeds in zip(*columns, strict=True)
        ],
        position_kernel=found.encoder_pos_conv_kernel,
        position_groups=found.encoder_pos_conv_groups,
        layer_norm_first=found.encoder_layer_norm_first,
        normalize_waveform=found.normalize_waveform,
        relative_position=relative,
    )
