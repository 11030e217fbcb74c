"""What a student is asked to match: the teacher's average over each group of layers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from skill_bench.layer_similarity import Groups


def group_averages(
    states: Sequence[Float[Tensor, "batch frames dim"]], groups: Groups
) -> list[Float[Tensor, "batch frames dim"]]:
    """Mean of the hidden states of each group (SKILL, arXiv 2402.16830)."""
    return [torch.stack([states[layer] for layer in group]).mean(0) for group in groups]


class GroupDistillation(nn.Module):
    """L1 distance minus cosine similarity of projected student averages to teacher averages, summed over groups.

    Source: DPHuBERT (arXiv 2305.17651, eq. 1), whose targets are groups of one layer each.

    Args:
        projections: for each group, which linear map it uses; groups with the same number share one (DPHuBERT shares
            one among all layers but the input).
    """

    def __init__(self, *, dim: int, groups: Groups, projections: Sequence[int]) -> None:
        super().__init__()
        if len(projections) != len(groups):
            raise ValueError(f"{len(groups)} groups need as many projection numbers, found {len(projections)}")
        self.groups, self.projections = groups, list(projections)
        self.linears = nn.ModuleList(nn.Linear(dim, dim) for _ in range(max(projections) + 1))
        for linear in self.linears:
            nn.init.eye_(linear.weight)  # type: ignore[arg-type]
            nn.init.zeros_(linear.bias)  # type: ignore[arg-type]

    def forward(
        self,
        student: Sequence[Float[Tensor, "batch frames dim"]],
        teacher: Sequence[Float[Tensor, "batch frames dim"]],
    ) -> tuple[Float[Tensor, ""], dict[str, float]]:
        losses = []
        similarities = []
        targets = group_averages(teacher, self.groups)
        averages = group_averages(student, self.groups)
        for number, average, target in zip(self.projections, averages, targets, strict=True):
            projected = self.linears[number](average)
            cosine = F.cosine_similarity(projected, target, dim=-1).mean()
            losses.append(F.l1_loss(projected, target) - cosine)
            similarities.append(cosine.item())
        # DPHuBERT's released code averages over the targets, since all have the same size.
        return torch.stack(losses).mean(), {"cosine": sum(similarities) / len(similarities)}
