"""One Transformer layer; either block may be missing.

Masks are gate values that an encoder multiplies its units by: how a student is pruned before it is pruned.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from skill_bench.models.architecture import Architecture, LayerShape
from skill_bench.models.attention import SelfAttention
from skill_bench.models.in_training import InTraining, recomputed


@dataclass(frozen=True, kw_only=True)
class LayerMasks:
    """Gates of one Transformer layer; None = not gated."""

    heads: Float[Tensor, " heads"] | None = None
    ffn: Float[Tensor, " units"] | None = None
    attention: Float[Tensor, ""] | None = None
    feed_forward: Float[Tensor, ""] | None = None


@dataclass(frozen=True, kw_only=True)
class EncoderMasks:
    """Gates of a whole encoder: ``channels`` a convolution, ``layers`` a Transformer layer."""

    channels: list[Float[Tensor, " _channels"] | None] | None
    layers: list[LayerMasks]


class FeedForward(nn.Module):
    """Linear, GELU, linear."""

    def __init__(self, *, dim: int, ffn_dim: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = dropout
        self.up = nn.Linear(dim, ffn_dim)
        self.down = nn.Linear(ffn_dim, dim)

    def forward(
        self, x: Float[Tensor, "batch frames dim"], unit_mask: Float[Tensor, " units"] | None = None
    ) -> Float[Tensor, "batch frames dim"]:
        return recomputed(partial(self._activated, unit_mask), self.up(x))

    def _activated(
        self, unit_mask: Float[Tensor, " units"] | None, raised: Float[Tensor, "batch frames units"]
    ) -> Float[Tensor, "batch frames dim"]:
        hidden = F.dropout(F.gelu(raised), self.dropout, self.training)
        lowered: Tensor = self.down(hidden if unit_mask is None else hidden * unit_mask)
        return lowered


class Layer(nn.Module):
    """Attention and feed-forward blocks with residual connections.

    A post-norm layer keeps both of its norms when a block is missing, as DPHuBERT's pruned layers do.
    """

    def __init__(self, architecture: Architecture, shape: LayerShape, in_training: InTraining) -> None:
        super().__init__()
        dim = architecture.dim
        self.norm_first = architecture.layer_norm_first
        self.attention = None
        if shape.heads:
            self.attention = SelfAttention(
                dim=dim,
                heads=shape.heads,
                n_heads=architecture.n_heads,
                head_dim=architecture.head_dim,
                gated=architecture.relative_position is not None,
                dropout=in_training.attention,
            )
        self.attention_norm = nn.LayerNorm(dim)
        self.feed_forward = None
        if shape.ffn_dim:
            self.feed_forward = FeedForward(dim=dim, ffn_dim=shape.ffn_dim, dropout=in_training.activation)
        self.final_norm = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(in_training.residual)

    def forward(
        self,
        x: Float[Tensor, "batch frames dim"],
        position_bias: Float[Tensor, "heads frames frames"] | None,
        key_is_valid: Bool[Tensor, "batch 1 1 frames"] | None,
        masks: LayerMasks | None = None,
    ) -> Float[Tensor, "batch frames dim"]:
        if self.attention is not None:
            attended = self.attention(
                self.attention_norm(x) if self.norm_first else x,
                position_bias,
                key_is_valid,
                None if masks is None else masks.heads,
            )
            if masks is not None and masks.attention is not None:
                attended = attended * masks.attention
            x = x + self.dropout(attended)
        if not self.norm_first:
            x = self.attention_norm(x)
        if self.feed_forward is not None:
            fed = self.feed_forward(self.final_norm(x) if self.norm_first else x, None if masks is None else masks.ffn)
            if masks is not None and masks.feed_forward is not None:
                fed = fed * masks.feed_forward
            x = x + self.dropout(fed)
        return x if self.norm_first else self.final_norm(x)
