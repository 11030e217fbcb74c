"""Gates to smaller dense layers: the pruned encoder computes what the gated one computes in evaluation."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from skill_bench.models.architecture import Architecture, LayerShape
from skill_bench.models.encoder import Encoder
from skill_bench.models.masks import EncoderMasks, LayerMasks


@torch.no_grad()
def prune(encoder: Encoder, masks: EncoderMasks) -> Encoder:
    """A new encoder without the units whose mask is zero; other mask values move into the weights that follow.

    Channels: into the next convolution, the last ones into ``channel_scale``. Heads: into the attention's output
    projection. Feed-forward units: into the second linear layer. Whole blocks: into weight and bias of their last
    linear layer.

    Args:
        masks: as ``Gates.masks()`` gives them in evaluation; what has no mask is kept as it is.
    """
    architecture, state = encoder.architecture, dict(encoder.state_dict())
    if masks.channels is not None:
        architecture = _prune_channels(state, architecture, masks.channels)
    layers = []
    for index, (shape, gate) in enumerate(zip(architecture.layers, masks.layers, strict=True)):
        heads = _prune_attention(state, f"layers.{index}.attention", shape, gate, architecture.head_dim)
        ffn_dim = _prune_feed_forward(state, f"layers.{index}.feed_forward", shape, gate)
        layers.append(LayerShape(heads=heads, ffn_dim=ffn_dim))
    pruned = Encoder(architecture.with_layers(tuple(layers)), dropout=encoder.dropout.p)
    pruned.load_state_dict(state)
    return pruned.train(encoder.training)


def _prune_channels(
    state: dict[str, Tensor], architecture: Architecture, masks: list[Float[Tensor, " channels"] | None]
) -> Architecture:
    convs, kept_before, scale_before = [], torch.zeros(1, dtype=torch.long), torch.ones(1)
    for index, (conv, mask) in enumerate(zip(architecture.convs, masks, strict=True)):
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
    return replace(architecture, convs=tuple(convs), channel_scale=True)


def _prune_attention(
    state: dict[str, Tensor], prefix: str, shape: LayerShape, masks: LayerMasks, head_dim: int
) -> tuple[int, ...]:
    mask = torch.ones(len(shape.heads)) if masks.heads is None else masks.heads
    kept = mask.nonzero().flatten().tolist()
    if not kept or _is_shut(masks.attention):
        _drop(state, prefix)
        return ()
    rows = (torch.tensor(kept)[:, None] * head_dim + torch.arange(head_dim)).flatten()
    for name in ("query", "key", "value"):
        state[f"{prefix}.{name}.weight"] = state[f"{prefix}.{name}.weight"][rows]
        state[f"{prefix}.{name}.bias"] = state[f"{prefix}.{name}.bias"][rows]
    state[f"{prefix}.out.weight"] = (state[f"{prefix}.out.weight"] * mask.repeat_interleave(head_dim))[:, rows]
    _scale(state, f"{prefix}.out", masks.attention)
    return tuple(shape.heads[index] for index in kept)


def _prune_feed_forward(state: dict[str, Tensor], prefix: str, shape: LayerShape, masks: LayerMasks) -> int:
    mask = torch.ones(shape.ffn_dim) if masks.ffn is None else masks.ffn
    kept = mask.nonzero().flatten()
    if len(kept) == 0 or _is_shut(masks.feed_forward):
        _drop(state, prefix)
        return 0
    state[f"{prefix}.up.weight"] = state[f"{prefix}.up.weight"][kept]
    state[f"{prefix}.up.bias"] = state[f"{prefix}.up.bias"][kept]
    state[f"{prefix}.down.weight"] = (state[f"{prefix}.down.weight"] * mask)[:, kept]
    _scale(state, f"{prefix}.down", masks.feed_forward)
    return len(kept)


def _is_shut(gate: Float[Tensor, ""] | None) -> bool:
    return gate is not None and gate.item() == 0


def _scale(state: dict[str, Tensor], linear: str, gate: Float[Tensor, ""] | None) -> None:
    """A block's gate multiplies its whole output, bias included."""
    if gate is not None:
        for name in (f"{linear}.weight", f"{linear}.bias"):
            state[name] = state[name] * gate


def _drop(state: dict[str, Tensor], prefix: str) -> None:
    for name in [name for name in state if name.startswith(f"{prefix}.")]:
        del state[name]
