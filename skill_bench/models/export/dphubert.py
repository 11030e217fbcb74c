"""A pruned encoder as DPHuBERT's own code loads it (github.com/pyf98/DPHuBERT, ``load_pruned_model`` in ``prune.py``).

The file is a dict of ``state_dict`` and ``config``, the arguments of its ``wav2vec2_model``. It always has a factor a
channel after the front end (``dummy_weight``): ones where the encoder has none. It keeps WavLM's position bias in the
first layer's attention: where that block was pruned away, one head is written whose output weights are zero, which
adds exactly nothing and carries the bias. Our metadata lies under a key that DPHuBERT does not look at.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from skill_bench.base.documents import write_atomic
from skill_bench.base.errors import CheckpointError
from skill_bench.models.architecture import Architecture, LayerShape
from skill_bench.models.convert.shared.key_names import torchaudio_names
from skill_bench.models.encoder import Encoder

METADATA_KEY = "skill_bench"
EPSILON = 1e-5
"""Added to the variance of a waveform by DPHuBERT's code (torch's ``layer_norm``)."""
# Training-time values of DPHuBERT's base models; they change nothing at evaluation, but its code demands them.
_DROPOUTS = {
    "encoder_projection_dropout": 0.1,
    "encoder_attention_dropout": 0.1,
    "encoder_ff_interm_dropout": 0.0,
    "encoder_dropout": 0.1,
    "encoder_layer_drop": 0.0,
}
_NOT_PRUNING = (
    "extractor_prune_conv_channels",
    "encoder_prune_attention_heads",
    "encoder_prune_attention_layer",
    "encoder_prune_feed_forward_intermediate",
    "encoder_prune_feed_forward_layer",
)


def write(encoder: Encoder, path: Path, *, metadata: Mapping[str, str]) -> Path:
    """Writes the file in one step.

    Raises:
        CheckpointError: ``path`` does not end in ``.pth``, or the format cannot hold the encoder; says why.
    """
    if path.suffix != ".pth":
        raise CheckpointError(f"{path}: a checkpoint in DPHuBERT's format ends in .pth.")
    if (reason := why_not(encoder)) is not None:
        raise CheckpointError(
            f"{path}: not written, because DPHuBERT's format cannot hold this model: {reason}. "
            "Use --format safetensors or huggingface."
        )
    written = io.BytesIO()
    torch.save(content(encoder) | {METADATA_KEY: dict(metadata)}, written)
    return write_atomic(path, written.getvalue())


def why_not(encoder: Encoder) -> str | None:
    """What of this encoder DPHuBERT's code cannot compute; None if it can compute all."""
    shape = encoder.architecture
    if not shape.projection_norm:
        return "it has no LayerNorm before the projection"
    if shape.position_norm != "weight_norm":
        return "its positional convolution has no weight normalisation"
    if shape.normalize_waveform and shape.normalize_eps != EPSILON:
        return f"it normalises waveforms with epsilon {shape.normalize_eps:g}, DPHuBERT with {EPSILON:g}"
    return None


def content(encoder: Encoder) -> dict[str, Any]:
    """``state_dict`` (float32, on the CPU) and ``config``; the hidden states are exactly the encoder's."""
    architecture, state = _with_bias_carrier(encoder)
    name = torchaudio_names()
    tensors = {}
    for ours, tensor in state.items():
        theirs = re.sub(
            r"\.parametrizations\.weight\.original([01])$", lambda m: f".weight_{'gv'[int(m[1])]}", name(ours)
        )
        tensors[theirs] = tensor.reshape(1, -1, 1, 1) if ours.endswith("attention.gate.scale") else tensor
    tensors.setdefault("feature_extractor.dummy_weight", torch.ones(architecture.convs[-1].channels))
    return {"state_dict": tensors, "config": _config(architecture)}


def _config(shape: Architecture) -> dict[str, Any]:
    config: dict[str, Any] = {
        "extractor_mode": shape.conv_norm,
        "extractor_conv_layer_config": [(conv.channels, conv.kernel, conv.stride) for conv in shape.convs],
        "extractor_conv_bias": shape.conv_bias,
        "encoder_embed_dim": shape.dim,
        "encoder_pos_conv_kernel": shape.position_kernel,
        "encoder_pos_conv_groups": shape.position_groups,
        "encoder_num_layers": len(shape.layers),
        "encoder_use_attention": [bool(layer.heads) for layer in shape.layers],
        "encoder_use_feed_forward": [layer.ffn_dim > 0 for layer in shape.layers],
        "encoder_ff_interm_features": [layer.ffn_dim for layer in shape.layers],
        "encoder_layer_norm_first": shape.layer_norm_first,
        "aux_num_out": None,
        "normalize_waveform": shape.normalize_waveform,
        **_DROPOUTS,
        **dict.fromkeys(_NOT_PRUNING, False),
    }
    if shape.relative_position is None:
        heads = [len(layer.heads) for layer in shape.layers]
        return config | {"encoder_num_heads": heads, "encoder_head_dim": shape.head_dim}
    return config | {
        "encoder_total_num_heads": [shape.n_heads] * len(shape.layers),
        "encoder_remaining_heads": [list(layer.heads) for layer in shape.layers],
        "encoder_num_buckets": shape.relative_position.n_buckets,
        "encoder_max_distance": shape.relative_position.max_distance,
    }


def _with_bias_carrier(encoder: Encoder) -> tuple[Architecture, dict[str, Tensor]]:
    """Shape and weights with an attention block in the first layer, if there is a position bias to carry."""
    shape = encoder.architecture
    state = {name: tensor.detach().to("cpu", torch.float32).clone() for name, tensor in encoder.state_dict().items()}
    if shape.relative_position is None or not shape.layers or shape.layers[0].heads:
        return shape, state
    first = LayerShape(heads=(0,), ffn_dim=shape.layers[0].ffn_dim)
    prefix, dim, width = "layers.0.attention", shape.dim, shape.head_dim
    for name in ("query", "key", "value"):
        state |= {f"{prefix}.{name}.weight": torch.zeros(width, dim), f"{prefix}.{name}.bias": torch.zeros(width)}
    state |= {f"{prefix}.out.weight": torch.zeros(dim, width), f"{prefix}.out.bias": torch.zeros(dim)}
    state |= {f"{prefix}.gate.linear.weight": torch.zeros(8, width), f"{prefix}.gate.linear.bias": torch.zeros(8)}
    state[f"{prefix}.gate.scale"] = torch.ones(shape.n_heads)
    return shape.with_layers((first, *shape.layers[1:])), state
