"""Trainable parameters of a grid: one leading dimension, ``cells``, over independent trainings.

The cells of one seed start from the same numbers and see the same batches; only their learning rate differs. Sums
over cells have independent gradients, so one backward pass trains the whole grid.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

Parameters = dict[str, Tensor]


def uniform(*shape: int, bound: float, generator: torch.Generator) -> Tensor:
    """Uniform numbers in [-bound, bound] from ``generator``: torch's default for linear layers and LSTMs."""
    return torch.empty(shape).uniform_(-bound, bound, generator=generator)


def linear(name: str, *, inputs: int, outputs: int, generator: torch.Generator) -> Parameters:
    """Weight ``(outputs, inputs)`` and bias of one linear layer, initialised as `torch.nn.Linear` does."""
    bound = 1 / math.sqrt(inputs)
    return {
        f"{name}.weight": uniform(outputs, inputs, bound=bound, generator=generator),
        f"{name}.bias": uniform(outputs, bound=bound, generator=generator),
    }


def repeat(parameters: Parameters, *, cells: int, device: torch.device) -> Parameters:
    """The same parameters for every cell: ``(cells, ...)`` leaves that require gradients."""
    return {
        name: value.to(device).expand(cells, *value.shape).clone().requires_grad_()
        for name, value in parameters.items()
    }


def concatenate(grids: Sequence[Parameters]) -> Parameters:
    """The cells of several grids, one grid after the other, as leaves that require gradients."""
    return {name: torch.cat([grid[name].detach() for grid in grids]).requires_grad_() for name in grids[0]}


def select(parameters: Parameters, cells: list[int]) -> Parameters:
    """Detached copies of some cells, each ``(len(cells), ...)``."""
    return {name: value.detach()[cells].clone() for name, value in parameters.items()}


def apply_linear(
    parameters: Parameters, name: str, inputs: Float[Tensor, "cells rows inputs"]
) -> Float[Tensor, "cells rows outputs"]:
    """Each cell's own linear layer."""
    bias, weight = parameters[f"{name}.bias"], parameters[f"{name}.weight"]
    return torch.baddbmm(bias.unsqueeze(1), inputs, weight.transpose(1, 2))


def weighted_sum(
    layer_scores: Float[Tensor, "cells layers"], features: Float[Tensor, "*seeds layers rows dim"]
) -> Float[Tensor, "cells rows dim"]:
    """Sum over layers with softmax weights, without normalising the layers (s3prl ``Featurizer._weighted_sum``).

    Features with a leading dimension are those of as many groups of consecutive cells.
    """
    layers, rows, dim = features.shape[-3:]
    grouped = features.reshape(-1, layers, rows * dim)
    weights = layer_scores.softmax(dim=-1).view(len(grouped), -1, layers)
    return torch.bmm(weights, grouped).view(-1, rows, dim)
