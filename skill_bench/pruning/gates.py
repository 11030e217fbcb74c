"""Hard Concrete gates: which units of a student stay, learnt by gradient."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from skill_bench.models.architecture import Architecture
from skill_bench.models.layer import EncoderMasks, LayerMasks
from skill_bench.pruning.options import Sparsity


class HardConcrete(nn.Module):
    """A gate in [0, 1] for each of ``n`` units (Louizos et al., arXiv 1712.01312, section 2.2).

    In training a sample; in evaluation a fixed value: ``round(n - expected)`` units are shut, those with the smallest
    ``sigmoid(evaluation_slope log_alpha / temperature)``, and the rest keep that value (CoFi, arXiv 2204.00408, and
    DPHuBERT, pyf98/DPHuBERT wav2vec2/hardconcrete.py).

    Args:
        drop_rate: 1 - sigmoid(log_alpha) at the start; stretching makes fewer shut than that.
        options: temperature, stretch, epsilon and evaluation slope.
        min_open: units that evaluation never shuts.

    Where ``options`` ask for units to be removed while the gates are learnt, ``unit`` says which of the ``n`` units
    are left, and ``was_open`` which of them a sample has opened since :meth:`keep` was called last. Random numbers are
    drawn for all ``n``, so that a gate's samples do not depend on how many others are left.
    """

    unit: Int[Tensor, " left"] | None
    was_open: Bool[Tensor, " left"] | None

    def __init__(self, n: int, *, drop_rate: float, options: Sparsity, min_open: int = 0) -> None:
        super().__init__()
        mean = math.log(1 - drop_rate) - math.log(drop_rate)
        self.log_alpha = nn.Parameter(torch.empty(n).normal_(mean, 0.01))
        self.options, self.min_open, self.n_drawn = options, min_open, n
        removes = options.remove_after_updates is not False
        self.register_buffer("unit", torch.arange(n) if removes else None)
        self.register_buffer("was_open", torch.zeros(n, dtype=torch.bool) if removes else None)

    def opened(self) -> Int[Tensor, " opened"]:
        """Positions of the gates that a sample has opened since :meth:`keep`; the likeliest one if there is none."""
        assert self.was_open is not None
        found = self.was_open.nonzero().flatten()
        return found if len(found) else self.log_alpha.argmax()[None]

    def keep(self, kept: Int[Tensor, " kept"]) -> nn.Parameter:
        """Leaves the gates at these positions, in a new parameter, which is returned."""
        assert self.unit is not None
        kept = kept.to(self.log_alpha.device)
        self.unit = self.unit[kept]
        self.was_open = torch.zeros_like(self.unit, dtype=torch.bool)
        self.log_alpha = nn.Parameter(self.log_alpha.detach()[kept])
        return self.log_alpha

    def open_probability(self) -> Float[Tensor, " n"]:
        """Probability of each gate not to be zero, in float64; differentiable (eq. 12)."""
        shift = self.options.temperature * math.log(self.options.stretch / (1 + self.options.stretch))
        return torch.sigmoid(self.log_alpha.double() - shift)

    def n_open(self) -> int:
        """Units that evaluation keeps."""
        return max(self.min_open, round(self.open_probability().sum().item()))

    def forward(self, generator: torch.Generator | None = None) -> Float[Tensor, " n"]:
        """``generator``: of the CPU; its numbers are the same on every device and in every process that shares it."""
        options = self.options
        if self.training:
            uniform = torch.rand(self.n_drawn, generator=generator) * (1 - 2 * options.epsilon) + options.epsilon
            noise = torch.logit(uniform).to(self.log_alpha.device)
            if self.unit is not None:
                noise = noise[self.unit]
            stretched = torch.sigmoid((noise + self.log_alpha) / options.temperature)
            sample = (stretched * (1 + 2 * options.stretch) - options.stretch).clamp(0, 1)
            if self.was_open is not None:
                self.was_open |= sample.detach() > 0
            return sample
        value = torch.sigmoid(options.evaluation_slope * self.log_alpha / options.temperature).detach()
        shut = torch.topk(value, len(value) - self.n_open(), largest=False).indices
        return value.index_fill(0, shut, 0.0)


def each(gates: nn.ModuleList) -> list[HardConcrete]:
    """The gates of one kind, one a convolution or layer; none where the kind is not gated."""
    return [gate for gate in gates if isinstance(gate, HardConcrete)]


class Gates(nn.Module):
    """Gates on convolution channels, attention heads and feed-forward units, and if asked on whole blocks.

    A kind of unit whose drop rate is False has no gates: its list is empty.
    """

    def __init__(self, architecture: Architecture, options: Sparsity) -> None:
        super().__init__()
        self.n_layers = len(architecture.layers)
        layers = architecture.layers

        def gates(sizes: Iterable[int], drop_rate: float, min_open: int = 0) -> nn.ModuleList:
            if drop_rate is False:
                return nn.ModuleList()
            return nn.ModuleList(
                HardConcrete(n, drop_rate=drop_rate, options=options, min_open=min_open) for n in sizes
            )

        self.channels = gates((conv.channels for conv in architecture.convs), options.channel_drop_rate, 1)
        self.heads = gates((len(layer.heads) for layer in layers), options.head_drop_rate)
        self.ffn = gates((layer.ffn_dim for layer in layers), options.ffn_drop_rate)
        self.attention_blocks = gates((1 for _ in layers), options.attention_block_drop_rate)
        self.ffn_blocks = gates((1 for _ in layers), options.ffn_block_drop_rate)

    def masks(self, generator: torch.Generator | None = None) -> EncoderMasks:
        """Samples in training, fixed values in evaluation, where a block without an open unit is shut as a whole."""
        channels = [gate(generator) for gate in self.channels]
        layers = []
        for index in range(self.n_layers):
            heads, ffn, attention, feed_forward = (
                gates[index](generator) if len(gates) else None
                for gates in (self.heads, self.ffn, self.attention_blocks, self.ffn_blocks)
            )
            layers.append(
                LayerMasks(
                    heads=heads,
                    ffn=ffn,
                    attention=self._block(attention, heads),
                    feed_forward=self._block(feed_forward, ffn),
                )
            )
        return EncoderMasks(channels=list(channels) or None, layers=layers)

    def _block(
        self, gate: Float[Tensor, " 1"] | None, units: Float[Tensor, " units"] | None
    ) -> Float[Tensor, ""] | None:
        block = None if gate is None else gate.squeeze()
        if self.training or units is None:
            return block
        any_open = units.any().float()
        return any_open if block is None else block * any_open
