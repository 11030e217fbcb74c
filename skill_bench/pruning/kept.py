"""Which units of an encoder stay; its shape, and any state of its parameters, without the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Int
from torch import Tensor

from skill_bench.models.architecture import Architecture, LayerShape
from skill_bench.models.attention import head_rows

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
