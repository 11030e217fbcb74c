"""What an encoder does while it is trained and not at evaluation.

Some activations are computed again on the way back instead of kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint


@dataclass(frozen=True, kw_only=True)
class InTraining:
    """Dropout by place, and the factor of the front end's gradient.

    Attributes:
        residual: dropout of both blocks' outputs and of the input of the first layer.
        projection: dropout of the projected frames.
        attention: dropout of the attention weights.
        activation: dropout between the feed-forward block's linear layers.
        feature_grad_mult: what gradients of the front end are multiplied by (wav2vec 2.0's ``feature_grad_mult``).
    """

    residual: float = 0.0
    projection: float = 0.0
    attention: float = 0.0
    activation: float = 0.0
    feature_grad_mult: float = 1.0


def scale_gradient(x: Float[Tensor, "*any"], factor: float) -> Float[Tensor, "*any"]:
    """``x``, with ``factor`` times its gradient."""
    found: Tensor = x if factor == 1.0 else _Scaled.apply(x, factor)  # type: ignore[no-untyped-call]
    return found


class _Scaled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0] * ctx.factor, None


def dropped(x: Float[Tensor, "*any"], rate: float) -> Float[Tensor, "*any"]:
    """As torch's dropout in training, at a fourth of its cost on the CPU: one draw of 64 bits decides four values.

    ``rate`` is met to 2**-17, and what is kept is scaled by what is drawn, so that the mean stays exact.
    """
    n_dropped = round(rate * 2**16)
    bits = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None).view(torch.int16)
    kept = bits[: x.numel()].view(x.shape) >= n_dropped - 2**15
    return x * kept.to(x.dtype).mul_(2**16 / max(2**16 - n_dropped, 1))


def recomputed(function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
    """``function(*inputs)``, of which only the inputs are kept for the backward pass.

    What comes last in ``function`` is not computed again if it is a linear layer or a convolution, for the backward
    pass needs what enters it and not what leaves it. So a function that ends in one costs what comes before it.
    """
    if not torch.is_grad_enabled():
        return function(*inputs)
    found: Tensor = checkpoint(function, *inputs, use_reentrant=False)
    return found
