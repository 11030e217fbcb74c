"""Gates to smaller dense layers: the pruned encoder computes what the gated one computes in evaluation."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from skill_bench.models.architecture import Architecture
from skill_bench.models.encoder import Encoder
from skill_bench.models.layer import EncoderMasks
from skill_bench.pruning.kept import Kept, Units


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
        _fold_channels(state, masks.channels)
        architecture = replace(architecture, channel_scale=True)
    for index, gate in enumerate(masks.layers):
        _fold(state, f"layers.{index}.attention.out", gate.heads, gate.attention)
        _fold(state, f"layers.{index}.feed_forward.down", gate.ffn, gate.feed_forward)
    return without(encoder, _open(encoder.architecture, masks), architecture=architecture, state=state)


@torch.no_grad()
def without(
    encoder: Encoder, kept: Kept, *, architecture: Architecture | None = None, state: dict[str, Tensor] | None = None
) -> Encoder:
    """A new encoder of the units that stay.

    Args:
        architecture, state: other than the encoder's own.
    """
    architecture, state = architecture or encoder.architecture, encoder.state_dict() if state is None else state
    smaller = Encoder(kept.shape(architecture), in_training=encoder.in_training)
    smaller.load_state_dict(kept.of(architecture, state))
    return smaller.to(encoder.norm.weight.device).train(encoder.training)


def _open(architecture: Architecture, masks: EncoderMasks) -> Kept:
    """Units whose mask is not zero, in blocks that are not shut."""
    everything = Kept.everything(architecture)
    return Kept(
        channels=everything.channels if masks.channels is None else [_nonzero(mask) for mask in masks.channels],
        heads=[
            _units(units, gate.heads, gate.attention)
            for units, gate in zip(everything.heads, masks.layers, strict=True)
        ],
        ffn=[
            _units(units, gate.ffn, gate.feed_forward) for units, gate in zip(everything.ffn, masks.layers, strict=True)
        ],
    )


def _nonzero(mask: Float[Tensor, " units"] | None) -> Units:
    assert mask is not None
    return mask.nonzero().flatten()


def _units(units: Units, mask: Float[Tensor, " units"] | None, block: Float[Tensor, ""] | None) -> Units:
    if block is not None and block.item() == 0:
        return units[:0]
    return units if mask is None else _nonzero(mask)


def _fold_channels(state: dict[str, Tensor], masks: list[Float[Tensor, " _channels"] | None]) -> None:
    before = torch.ones(1)
    for index, mask in enumerate(masks):
        assert mask is not None
        name = f"front_end.layers.{index}.conv.weight"
        state[name] = state[name] * before[:, None]
        before = mask
    scale = state.get("front_end.channel_scale", torch.ones_like(before))
    state["front_end.channel_scale"] = scale * before


def _fold(
    state: dict[str, Tensor], linear: str, units: Float[Tensor, " units"] | None, block: Float[Tensor, ""] | None
) -> None:
    """Gates of the units before a linear layer, and the gate that multiplies its whole output, bias included."""
    weight = f"{linear}.weight"
    if weight not in state:
        return
    if units is not None:
        state[weight] = state[weight] * units.repeat_interleave(state[weight].shape[1] // len(units))
    if block is not None:
        for name in (weight, f"{linear}.bias"):
            state[name] = state[name] * block
