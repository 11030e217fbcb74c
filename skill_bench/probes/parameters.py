"""Trainable parameters of a grid, and their optimizer: one leading dimension, ``cells``, over independent trainings.

The cells of one seed start from the same numbers and see the same batches; only their learning rate differs. Sums
over cells have independent gradients, so one backward pass trains the whole grid. Adam and AdamW have one
learning rate and one gradient norm a cell.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Parameters = dict[str, Tensor]
# torch.optim.Adam's defaults, which s3prl's TorchOptim keeps.
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
# torch.optim.AdamW's default.
ADAMW_DECAY = 0.01


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


class GridAdam:
    """Adam (Kingma & Ba 2015, algorithm 1), as `torch.optim.Adam`, with independent cells.

    Args:
        parameters: Leaves of shape ``(cells, ...)``, updated in place.
        learning_rates: One for each cell.
        clip_norm: Each cell's gradient is scaled down to this norm (`torch.nn.utils.clip_grad_norm_`).
        decay: Share of the learning rate by which parameters shrink at each step (Loshchilov & Hutter 2019).
    """

    def __init__(
        self,
        *,
        parameters: Parameters,
        learning_rates: Float[Tensor, " cells"],
        clip_norm: float,
        decay: float = 0.0,
    ) -> None:
        self.parameters, self.decay = parameters, decay
        self.learning_rates = learning_rates
        self.clip_norm = clip_norm
        self._steps = torch.zeros_like(learning_rates)
        self._mean = {name: torch.zeros_like(value) for name, value in parameters.items()}
        self._square = {name: torch.zeros_like(value) for name, value in parameters.items()}

    @torch.no_grad()
    def step(self) -> Bool[Tensor, " cells"]:
        """One update from the gradients, which are then cleared.

        A cell whose gradient is not finite keeps its parameters and its state, as s3prl's runner skips the step.

        Returns:
            Which cells were updated.
        """
        gradients = {name: value.grad for name, value in self.parameters.items() if value.grad is not None}
        norms = torch.stack([g.flatten(1).norm(dim=1) for g in gradients.values()]).norm(dim=0)
        finite = torch.isfinite(norms)
        scale = (self.clip_norm / (norms + 1e-6)).clamp(max=1.0)
        self._steps += finite
        # A cell that has never been updated has no correction to make; 1 keeps the division defined.
        steps = self._steps.clamp(min=1)
        # 1 - beta^steps: in float32 the difference itself would lose four of seven digits at first.
        step_size = self.learning_rates / -torch.expm1(steps * math.log(BETA1))
        root = (-torch.expm1(steps * math.log(BETA2))).sqrt()
        every = bool(finite.all())
        for name, gradient in gradients.items():
            shape = (-1,) + (1,) * (gradient.ndim - 1)
            gradient.mul_(scale.view(shape))
            before = None if every else (self.parameters[name].clone(), self._mean[name], self._square[name])
            if before is not None:
                self._mean[name], self._square[name] = before[1].clone(), before[2].clone()
            mean = self._mean[name].lerp_(gradient, 1 - BETA1)
            square = self._square[name].mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
            # mean / (sqrt(square) / root + epsilon) * step_size, with the factors moved into the denominator
            denominator = square.sqrt().mul_((1 / (root * step_size)).view(shape))
            denominator.add_((EPSILON / step_size).view(shape))
            if self.decay:
                self.parameters[name].mul_((1 - self.learning_rates * self.decay).view(shape))
            self.parameters[name].addcdiv_(mean, denominator, value=-1)
            if before is not None:
                waiting = ~finite
                for value, old in zip((self.parameters[name], mean, square), before, strict=True):
                    value[waiting] = old[waiting]
            self.parameters[name].grad = None
        return finite

    def keep(self, cells: list[int]) -> None:
        """Goes on with some cells only; their parameters and state are as they were."""
        for name, value in list(self.parameters.items()):
            self.parameters[name] = value.detach()[cells].clone().requires_grad_()
            self._mean[name] = self._mean[name][cells].clone()
            self._square[name] = self._square[name][cells].clone()
        self._steps = self._steps[cells].clone()
        self.learning_rates = self.learning_rates[cells].clone()
