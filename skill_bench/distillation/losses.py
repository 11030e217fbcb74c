"""What a student is asked to match: the teacher's average over each group of layers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from skill_bench.base.specs import Off
from skill_bench.distillation.recipe import Loss, Norm
from skill_bench.models.encoder import LayerZero
from skill_bench.records.similarity import Groups, Weights


def _over_dimensions(state: Float[Tensor, "batch frames dim"]) -> Float[Tensor, "batch frames dim"]:
    return F.layer_norm(state, state.shape[2:])


def _over_time(state: Float[Tensor, "batch frames dim"]) -> Float[Tensor, "batch frames dim"]:
    return F.instance_norm(state.transpose(1, 2)).transpose(1, 2)


NORMS: Mapping[Norm, Callable[[Tensor], Tensor]] = {"layer": _over_dimensions, "instance": _over_time}
"""To mean 0 and variance 1, epsilon 1e-5, before averaging, so that no layer drowns the others (data2vec, arXiv
2202.03555, section 3.3): each frame over its dimensions, or each dimension over the frames of an utterance."""


@dataclass(frozen=True, kw_only=True)
class Averages:
    """Which hidden states are averaged, and how; ``norm``: of each state before. For one encoder."""

    groups: Groups
    weights: Weights | None = None
    norm: Norm | Off = False
    layer_zero: LayerZero = "first_layer_input"

    def __call__(self, states: Iterable[Float[Tensor, "batch frames dim"]]) -> list[Float[Tensor, "batch frames dim"]]:
        """:func:`group_averages` of the states of ``walk(waves, layer_zero=self.layer_zero)``."""
        return group_averages(states, self.groups, weights=self.weights, norm=NORMS[self.norm] if self.norm else None)


def group_averages(
    states: Iterable[Float[Tensor, "batch frames dim"]],
    groups: Groups,
    *,
    weights: Weights | None = None,
    norm: Callable[[Tensor], Tensor] | None = None,
) -> list[Float[Tensor, "batch frames dim"]]:
    """Mean of the hidden states of each group, in float32 (SKILL, arXiv 2402.16830).

    ``states`` are taken one by one up to the last that a group needs; only a sum a group is kept.

    Args:
        weights: of each group's layers, 1 on average; None: all are 1.
        norm: of a state, before it is averaged.
    """
    sums: list[Tensor | None] = [None] * len(groups)
    last = max(layer for group in groups for layer in group)
    for layer, state in enumerate(states):
        members = [index for index, group in enumerate(groups) if layer in group]
        if members:
            state = state.float() if norm is None else norm(state.float())
        for index in members:
            part = state if weights is None else weights[index][groups[index].index(layer)] * state
            so_far = sums[index]
            sums[index] = part if so_far is None else so_far + part
        if layer == last:
            break
    return [total / len(group) for total, group in zip(sums, groups, strict=True) if total is not None]


class GroupDistillation(nn.Module):
    """L1 distance minus cosine similarity of mapped student averages to teacher averages, averaged over groups.

    Source: DPHuBERT (arXiv 2305.17651, eq. 1), whose targets are groups of one layer each; with
    ``cosine = "log_sigmoid"`` and prediction heads DistilHuBERT (arXiv 2110.01900, eq. 1; s3prl/upstream/distiller).
    Heads are needed in training only.
    """

    def __init__(self, *, dim: int, n_groups: int, options: Loss) -> None:
        super().__init__()
        self.options = options
        self.head_numbers = options.head_numbers(n_groups)
        self.heads = nn.ModuleList(_head(dim, options) for _ in range(max(self.head_numbers) + 1))

    def forward(
        self,
        student: Sequence[Float[Tensor, "batch frames dim"]],
        teacher: Sequence[Float[Tensor, "batch frames dim"]],
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Loss and what to log, from the averages of each group."""
        distances, cosines, losses = [], [], []
        for number, average, target in zip(self.head_numbers, student, teacher, strict=True):
            mapped = self.heads[number](average).float()
            distance = F.l1_loss(mapped, target)
            cosine = F.cosine_similarity(mapped, target, dim=-1)
            agreement = F.logsigmoid(cosine) if self.options.cosine == "log_sigmoid" else cosine
            losses.append(self.options.l1_weight * distance - self.options.cosine_weight * agreement.mean())
            distances.append(distance.detach())
            cosines.append(cosine.detach().mean())
        # DPHuBERT's released code averages over the targets, since all have the same size.
        return torch.stack(losses).mean(), {"l1": torch.stack(distances).mean(), "cosine": torch.stack(cosines).mean()}


def _head(dim: int, options: Loss) -> nn.Module:
    if options.head == "prediction":
        return nn.Sequential(nn.Linear(dim, dim), nn.GELU(), nn.Linear(dim, dim))
    linear = nn.Linear(dim, dim)
    nn.init.eye_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear
