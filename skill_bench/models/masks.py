"""Gate values that an encoder multiplies its units by: how a student is pruned before it is pruned."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


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
