"""Gates to smaller dense layers: the pruned encoder computes what the gated one computes in evaluation.

`Kept` says which units stay; an encoder's shape, and any state of its parameters, follow. While a student is trained,
units whose gates have stayed shut leave it, its gates and the optimiser: everything that is kept stays what it was,
weights, the optimiser's moments, gates and the random numbers of their samples. Nothing is folded then, since the gates
go on changing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from skill_bench.models.architecture import Architecture, LayerShape
from skill_bench.models.attention import head_rows
from skill_bench.models.encoder import Encoder
from skill_bench.models.layer import EncoderMasks
from skill_bench.pruning.gates import Gates, HardConcrete, each

Units = Int[Tensor, " kept"]
"""Positions among the units that are there."""


@dataclass(frozen=True, kw_only=True)
class Kept:
    """Units of each convolution (channels) and each layer (heads, feed-forward units).

    A layer without heads, or without units, loses that block as a whole.
    """

    channels: Sequence[Units]
    heads: Sequence[Units]
    ffn: Sequence[Units]

    @classmethod
    def everything(cls, architecture: Architecture) -> Kept:
        """All units."""
        return cls(
            channels=[torch.arange(conv.channels) for conv in architecture.convs],
            heads=[torch.arange(len(layer.heads)) for layer in architecture.layers],
            ffn=[torch.arange(layer.ffn_dim) for layer in architecture.layers],
        )

    def shape(self, architecture: Architecture) -> Architecture:
        """``architecture`` with the units that stay."""
        convs = zip(architecture.convs, self.channels, strict=True)
        layers = zip(architecture.layers, self.heads, self.ffn, strict=True)
        return replace(
            architecture,
            convs=tuple(replace(conv, channels=len(units)) for conv, units in convs),
            layers=tuple(
                LayerShape(heads=tuple(layer.heads[i] for i in heads.tolist()), ffn_dim=len(ffn))
                for layer, heads, ffn in layers
            ),
        )

    def of(self, architecture: Architecture, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What remains of one tensor a parameter of an encoder of ``architecture``: weights, or an optimiser's state.

        Parameters of blocks that are gone are left out.
        """
        chosen = self._chosen(architecture)
        found = {}
        for name, tensor in state.items():
            if any(name.startswith(prefix) for prefix in self._gone()):
                continue
            for dim, units in enumerate(chosen.get(name, ())):
                if units is not None:
                    tensor = tensor.index_select(dim, units.to(tensor.device))
            found[name] = tensor
        return found

    def _gone(self) -> list[str]:
        attention = [f"layers.{i}.attention." for i, heads in enumerate(self.heads) if len(heads) == 0]
        return attention + [f"layers.{i}.feed_forward." for i, units in enumerate(self.ffn) if len(units) == 0]

    def _chosen(self, architecture: Architecture) -> dict[str, tuple[Units | None, ...]]:
        """By parameter, what to take along each of its dimensions; None: all."""
        chosen: dict[str, tuple[Units | None, ...]] = {}
        before: Units | None = None
        for index, units in enumerate(self.channels):
            prefix = f"front_end.layers.{index}"
            chosen[f"{prefix}.conv.weight"] = (units, before)
            chosen |= {f"{prefix}.{name}": (units,) for name in ("conv.bias", "norm.weight", "norm.bias")}
            before = units
        for name in ("front_end.channel_scale", "projection.norm.weight", "projection.norm.bias"):
            chosen[name] = (before,)
        chosen["projection.linear.weight"] = (None, before)
        for index, (heads, units) in enumerate(zip(self.heads, self.ffn, strict=True)):
            rows = head_rows(heads, head_dim=architecture.head_dim)
            prefix = f"layers.{index}.attention"
            for name in ("query", "key", "value"):
                chosen |= {f"{prefix}.{name}.weight": (rows,), f"{prefix}.{name}.bias": (rows,)}
            chosen[f"{prefix}.out.weight"] = (None, rows)
            prefix = f"layers.{index}.feed_forward"
            chosen |= {f"{prefix}.up.weight": (units,), f"{prefix}.up.bias": (units,)}
            chosen[f"{prefix}.down.weight"] = (None, units)
        return chosen


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


def opened(gates: Gates, architecture: Architecture) -> Kept:
    """Units that a sample has opened since the last removal, at least one a block; all where nothing is gated."""
    return _kept(gates, architecture, lambda kind, index, gate: gate.opened().cpu())


def left(gates: Gates, state: Mapping[str, Tensor], architecture: Architecture) -> Kept:
    """Units whose gates a state of ``gates`` still has.

    Raises:
        KeyError: it was written without removal.
    """

    def units(kind: str, index: int, gate: HardConcrete) -> Units:
        assert gate.unit is not None
        there = torch.isin(gate.unit.cpu(), state[f"{kind}.{index}.unit"].cpu())
        return there.nonzero().flatten()

    return _kept(gates, architecture, units)


@torch.no_grad()
def remove(student: Encoder, gates: Gates, kept: Kept, optimizer: torch.optim.Optimizer) -> Encoder:
    """The student of the kept units; ``gates`` and ``optimizer`` are changed to fit.

    New parameters take the place of the old ones in the optimiser, since processes attach to a parameter what belongs
    to its shape.
    """
    smaller = without(student, kept)
    architecture, new = student.architecture, dict(smaller.named_parameters())
    for name, parameter in student.named_parameters():
        _move(optimizer, parameter, new[name], partial(_of, kept, architecture, name))
    for kind, units in (("channels", kept.channels), ("heads", kept.heads), ("ffn", kept.ffn)):
        for gate, positions in zip(
            each(getattr(gates, kind)), units, strict=False
        ):  # no gates of this kind: nothing to keep
            old = gate.log_alpha
            _move(optimizer, old, gate.keep(positions), partial(_at, positions))
    return smaller


def _of(kept: Kept, architecture: Architecture, name: str, value: Tensor) -> Tensor:
    return kept.of(architecture, {name: value})[name]


def _at(positions: Units, value: Tensor) -> Tensor:
    return value[positions.to(value.device)]


def _kept(gates: Gates, architecture: Architecture, units: Callable[[str, int, HardConcrete], Units]) -> Kept:
    everything = Kept.everything(architecture)

    def of(kind: str, whole: Sequence[Units]) -> Sequence[Units]:
        return [units(kind, index, gate) for index, gate in enumerate(each(getattr(gates, kind)))] or whole

    return Kept(
        channels=of("channels", everything.channels), heads=of("heads", everything.heads), ffn=of("ffn", everything.ffn)
    )


def _move(
    optimizer: torch.optim.Optimizer, old: nn.Parameter, new: nn.Parameter, select: Callable[[Tensor], Tensor]
) -> None:
    state = optimizer.state.pop(old, None)
    for group in optimizer.param_groups:
        group["params"] = [new if parameter is old else parameter for parameter in group["params"]]
    if state is not None:
        optimizer.state[new] = {
            name: select(value) if isinstance(value, Tensor) and value.shape == old.shape else value
            for name, value in state.items()
        }
