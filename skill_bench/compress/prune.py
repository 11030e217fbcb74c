"""Gates to smaller dense layers: the pruned encoder computes what the gated one computes in evaluation."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from skill_bench.models.architecture import LayerShape
from skill_bench.models.encoder import Encoder
from skill_bench.models.masks import EncoderMasks


@torch.no_grad()
def prune(encoder: Encoder, masks: EncoderMasks) -> Encoder:
    """A new encoder without the units whose mask is zero; other mask values move into the weights that follow.

    Channels: into the next convolution, the last ones into ``channel_scale``. Heads: into the attention's output
    projection. Feed-forward units: into the second linear layer.

    Args:
        masks: of every channel, head and unit, as ``Gates.masks()`` gives them in evaluation.
    """
    architecture = encoder.architecture
    assert masks.channels is not None
    state = dict(encoder.state_dict())
    convs, kept_before, scale_before = [], torch.zeros(1, dtype=torch.long), torch.ones(1)
    for index, (conv, mask) in enumerate(zip(architecture.convs, masks.channels, strict=True)):
        assert mask is not None
        kept, prefix = mask.nonzero().flatten(), f"front_end.layers.{index}"
        weight = state[f"{prefix}.conv.weight"] * scale_before[:, None]
        state[f"{prefix}.conv.weight"] = weight[:, kept_before][kept]
        for name in ("conv.bias", "norm.weight", "norm.bias"):
            if f"{prefix}.{name}" in state:
                state[f"{prefix}.{name}"] = state[f"{prefix}.{name}"][kept]
        convs.append(replace(conv, channels=len(kept)))
        kept_before, scale_before = kept, mask
    scale = state.get("front_end.channel_scale", torch.ones_like(scale_before))
    state["front_end.channel_scale"] = (scale * scale_before)[kept_before]
    for name in ("norm.weight", "norm.bias"):
        state[f"projection.{name}"] = state[f"projection.{name}"][kept_before]
    state["projection.linear.weight"] = state["projection.linear.weight"][:, kept_before]

    layers = []
    for index, (shape, gate) in enumerate(zip(architecture.layers, masks.layers, strict=True)):
        assert gate.heads is not None
        assert gate.ffn is not None
        heads = _prune_attention(state, f"layers.{index}.attention", shape, gate.heads, architecture.head_dim)
        ffn_dim = _prune_feed_forward(state, f"layers.{index}.feed_forward", gate.ffn)
        layers.append(LayerShape(heads=heads, ffn_dim=ffn_dim))
    pruned = Encoder(replace(architecture, convs=tuple(convs), layers=tuple(layers), channel_scale=True))
    pruned.load_state_dict(state)
    return pruned.train(encoder.training)


def _prune_attention(
    state: dict[str, Tensor], prefix: str, shape: LayerShape, mask: Tensor, head_dim: int
) -> tuple[int, ...]:
    kept = mask.nonzero().flatten().tolist()
    if not kept:
        _drop(state, prefix)
        return ()
    rows = (torch.tensor(kept)[:, None] * head_dim + torch.arange(head_dim)).flatten()
    for name in ("query", "key", "value"):
        state[f"{prefix}.{name}.weight"] = state[f"{prefix}.{name}.weight"][rows]
        state[f"{prefix}.{name}.bias"] = state[f"{prefix}.{name}.bias"][rows]
    state[f"{prefix}.out.weight"] = (state[f"{prefix}.out.weight"] * mask.repeat_interleave(head_dim))[:, rows]
    return tuple(shape.heads[index] for index in kept)


def _prune_feed_forward(state: dict[str, Tensor], prefix: str, mask: Tensor) -> int:
    kept = mask.nonzero().flatten()
    if len(kept) == 0:
        _drop(state, prefix)
        return 0
    state[f"{prefix}.up.weight"] = state[f"{prefix}.up.weight"][kept]
    state[f"{prefix}.up.bias"] = state[f"{prefix}.up.bias"][kept]
    state[f"{prefix}.down.weight"] = (state[f"{prefix}.down.weight"] * mask)[:, kept]
    return len(kept)


def _drop(state: dict[str, Tensor], prefix: str) -> None:
    for name in [name for name in state if name.startswith(f"{prefix}.")]:
        del state[name]
