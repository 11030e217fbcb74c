"""Hard Concrete gates: which units of a student stay, learnt by gradient."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from skill_bench.models.architecture import Architecture
from skill_bench.models.masks import EncoderMasks, LayerMasks

TEMPERATURE = 2 / 3
STRETCH = 0.1
EPSILON = 1e-6
LOCATION = 0.8


class HardConcrete(nn.Module):
    """A gate in [0, 1] for each of ``n`` units (Louizos et al., arXiv 1712.01312, section 2.2).

    In training a sample; in evaluation a fixed value: ``round(n - expected)`` units are shut, those with the smallest
    ``sigmoid(0.8 log_alpha / temperature)``, and the rest keep that value (CoFi, arXiv 2204.00408, and DPHuBERT,
    pyf98/DPHuBERT wav2vec2/hardconcrete.py). Constants are DPHuBERT's.

    Args:
        drop_rate: initial probability to shut.
        min_open: units that evaluation never shuts.
    """

    def __init__(self, n: int, *, drop_rate: float, min_open: int = 0) -> None:
        super().__init__()
        mean = math.log(1 - drop_rate) - math.log(drop_rate)
        self.log_alpha = nn.Parameter(torch.empty(n).normal_(mean, 0.01))
        self.min_open = min_open

    def expected_open(self) -> Float[Tensor, ""]:
        """Expected number of gates that are not zero; differentiable (eq. 12)."""
        shift = TEMPERATURE * math.log(STRETCH / (1 + STRETCH))
        return torch.sigmoid(self.log_alpha - shift).sum()

    def n_open(self) -> int:
        """Units that evaluation keeps."""
        return max(self.min_open, round(self.expected_open().item()))

    def forward(self) -> Float[Tensor, " n"]:
        if self.training:
            uniform = torch.rand_like(self.log_alpha) * (1 - 2 * EPSILON) + EPSILON
            sample = torch.sigmoid((torch.logit(uniform) + self.log_alpha) / TEMPERATURE)
            return (sample * (1 + 2 * STRETCH) - STRETCH).clamp(0, 1)
        value = torch.sigmoid(LOCATION * self.log_alpha / TEMPERATURE).detach()
        shut = torch.topk(value, len(value) - self.n_open(), largest=False).indices
        return value.index_fill(0, shut, 0.0)


class Gates(nn.Module):
    """Gates on convolution channels, attention heads and feed-forward units of one architecture."""

    def __init__(self, architecture: Architecture, *, channel_drop: float, head_drop: float, ffn_drop: float) -> None:
        super().__init__()
        self.channels = nn.ModuleList(
            HardConcrete(conv.channels, drop_rate=channel_drop, min_open=1) for conv in architecture.convs
        )
        self.heads = nn.ModuleList(HardConcrete(len(layer.heads), drop_rate=head_drop) for layer in architecture.layers)
        self.ffn = nn.ModuleList(HardConcrete(layer.ffn_dim, drop_rate=ffn_drop) for layer in architecture.layers)

    def masks(self) -> EncoderMasks:
        """Samples in training, fixed values in evaluation, where a block without an open unit is shut as a whole."""
        layers = []
        for heads_gate, ffn_gate in zip(self.heads, self.ffn, strict=True):
            heads, ffn = heads_gate(), ffn_gate()
            block = {} if self.training else {"attention": heads.any().float(), "feed_forward": ffn.any().float()}
            layers.append(LayerMasks(heads=heads, ffn=ffn, **block))
        return EncoderMasks(channels=[gate() for gate in self.channels], layers=layers)
