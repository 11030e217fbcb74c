"""What the two stages of a distillation minimise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from skill_bench.compress.gates import Gates
from skill_bench.compress.loop import Objective
from skill_bench.compress.losses import GroupDistillation, group_averages
from skill_bench.compress.recipe import Sparsity
from skill_bench.compress.sparsity import Lagrangian, Sizes, n_parameters
from skill_bench.layer_similarity import Groups
from skill_bench.models.architecture import Architecture
from skill_bench.models.encoder import Encoder

Teach = Callable[[Float[Tensor, "batch samples"]], Sequence[Float[Tensor, "batch frames dim"]]]
"""Waves to the teacher's average over each group."""


def teaching(teacher: Encoder, groups: Groups) -> Teach:
    """The frozen teacher: runs up to the last layer that a group needs, and keeps one sum a group."""
    teacher = teacher.eval().requires_grad_(False)

    @torch.no_grad()
    def teach(waves: Float[Tensor, "batch samples"]) -> list[Float[Tensor, "batch frames dim"]]:
        return group_averages(teacher.walk(waves), groups)

    return teach


class FinalObjective(Objective):
    """Distillation of a student as it is."""

    def __init__(self, student: Encoder, target: GroupDistillation, *, teach: Teach, groups: Groups) -> None:
        super().__init__()
        self.student, self.target = student, target
        self.teach, self.groups = teach, groups

    def forward(
        self, update: int, waves: Float[Tensor, "batch samples"], shared: torch.Generator
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        averages = group_averages(self.student.walk(waves), self.groups)
        loss: tuple[Tensor, dict[str, Tensor]] = self.target(averages, self.teach(waves))
        return loss


class JointObjective(Objective):
    """Distillation of a student whose units are gated, and the constraint on what the gates leave open.

    Args:
        teacher_size: parameters that sparsity is a share of.
    """

    def __init__(
        self,
        student: Encoder,
        target: GroupDistillation,
        *,
        teach: Teach,
        groups: Groups,
        options: Sparsity,
        teacher_size: int,
    ) -> None:
        super().__init__()
        self.student, self.target = student, target
        self.gates, self.lagrangian = Gates(student.architecture, options), Lagrangian()
        self.teach, self.groups = teach, groups
        self.options, self.teacher_size = options, teacher_size

    @property
    def shape(self) -> Architecture:
        """What the size formula counts: a pruned encoder also has the factors that the last channels' gates leave."""
        whole = self.student.architecture
        return replace(whole, channel_scale=whole.channel_scale or len(self.gates.channels) > 0)

    def sparsity(self) -> Float[Tensor, ""]:
        """Expected share of the teacher's parameters that is gone, in float64, with a gradient."""
        size = n_parameters(self.shape, Sizes.expected(self.gates, self.student.architecture))
        assert isinstance(size, Tensor), "there is at least one gate"
        return 1 - size / self.teacher_size

    def forward(
        self, update: int, waves: Float[Tensor, "batch samples"], shared: torch.Generator
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        averages = group_averages(self.student.walk(waves, self.gates.masks(shared)), self.groups)
        distance, log = self.target(averages, self.teach(waves))
        sparsity = self.sparsity()
        wanted = self.options.target * min(1.0, update / max(1, self.options.ramp_updates))
        log |= {
            "distance": distance.detach(),
            "sparsity": sparsity.detach(),
            "sparsity_target": torch.tensor(wanted, dtype=torch.float64, device=waves.device),
            "lambda_linear": self.lagrangian.linear.detach().clone(),
            "lambda_quadratic": self.lagrangian.quadratic.detach().clone(),
        }
        return distance + self.lagrangian(sparsity, wanted), log
