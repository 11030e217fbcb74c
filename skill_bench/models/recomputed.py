"""Memory of training: some activations are computed again on the way back instead of kept."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint


def recomputed(function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
    """``function(*inputs)``, of which only the inputs are kept for the backward pass.

    What comes last in ``function`` is not computed again if it is a linear layer or a convolution, for the backward
    pass needs what enters it and not what leaves it. So a function that ends in one costs what comes before it.
    """
    if not torch.is_grad_enabled():
        return function(*inputs)
    found: Tensor = checkpoint(function, *inputs, use_reentrant=False)
    return found
