"""How large a model is."""

from __future__ import annotations

from torch import nn


def size_of(module: nn.Module) -> int:
    """Numbers in the parameters of ``module``; one that is shared counts once."""
    return sum(parameter.numel() for parameter in module.parameters())
