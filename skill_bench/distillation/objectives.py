"""What the two stages of a distillation minimise."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from skill_bench.distillation.losses import Averages, GroupDistillation
from skill_bench.models.architecture import Architecture
from skill_bench.models.encoder import Encoder
from skill_bench.models.size import size_of
from skill_bench.pruning import prune
from skill_bench.pruning.gates import Gates
from skill_bench.pruning.options import Sparsity
from skill_bench.pruning.prune import Kept
from skill_bench.pruning.sparsity import Lagrangian, Sizes, gated_shape, hold, n_parameters
from skill_bench.training.loop import Objective

Teach = Callable[[Float[Tensor, "batch samples"]], Sequence[Float[Tensor, "batch frames dim"]]]
"""Waves to the teacher's average over each group."""


def teaching(teacher: Encoder, averages: Averages) -> Teach:
    """The frozen teacher: runs up to the last layer that a group needs, and keeps one sum a group."""
    teacher = teacher.eval().requires_grad_(False)

    @torch.no_grad()
    def teach(waves: Float[Tensor, "batch samples"]) -> list[Float[Tensor, "batch frames dim"]]:
        return averages(teacher.walk(waves, layer_zero=averages.layer_zero))

    return teach


class FinalObjective(Objective):
    """Distillation of a student as it is."""

    def __init__(self, student: Encoder, target: GroupDistillation, *, teach: Teach, averages: Averages) -> None:
        super().__init__()
        self.student, self.target = student, target
        self.teach, self.averages = teach, averages

    def forward(
        self, update: int, waves: Float[Tensor, "batch samples"], shared: torch.Generator
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        taught = self.teach(waves)  # first, while nothing of the student has to be kept
        averages = self.averages(self.student.walk(waves, layer_zero=self.averages.layer_zero))
        loss: tuple[Tensor, dict[str, Tensor]] = self.target(averages, taught)
        return loss


class JointObjective(Objective):
    """Distillation of a student whose units are gated, and the constraint on what the gates leave open.

    With ``options.remove_after_updates`` units whose gates stay shut are removed on the way: the same distance is
    computed by a smaller student. A block keeps at least one unit, so that its bias learns on until the end.

    Args:
        teacher_size: parameters that sparsity is a share of.
    """

    def __init__(
        self,
        student: Encoder,
        target: GroupDistillation,
        *,
        teach: Teach,
        averages: Averages,
        options: Sparsity,
        teacher_size: int,
    ) -> None:
        super().__init__()
        self.student, self.target = student, target
        self.gates, self.lagrangian = Gates(student.architecture, options), Lagrangian()
        self.teach, self.averages = teach, averages
        self.options, self.teacher_size = options, teacher_size
        self.shrink_every_updates = options.remove_after_updates or None

    def shrink(self, optimizer: torch.optim.Optimizer) -> None:
        """Removes units that no sample has opened since the last call, unless too few would be left for the target."""
        kept = prune.opened(self.gates, self.student.architecture)
        smaller = kept.shape(self.shape)
        if n_parameters(smaller, Sizes.of(smaller)) < (1 - self.options.target) * self.teacher_size:
            kept = Kept.everything(self.student.architecture)
        self.student = prune.remove(self.student, self.gates, kept, optimizer)

    def shrink_as(self, modules: Mapping[str, Mapping[str, Tensor]], optimizer: torch.optim.Optimizer) -> None:
        """Removes the units whose gates a checkpoint no longer has."""
        if self.shrink_every_updates is not None:
            kept = prune.left(self.gates, modules["gates"], self.student.architecture)
            self.student = prune.remove(self.student, self.gates, kept, optimizer)

    def correct(self, update: int) -> None:
        """Holds the target once the ramp has ended, where the options say so."""
        options = self.options
        if options.hold and update + 1 >= options.ramp_updates:
            most = options.gate_learning_rate
            hold(self.gates.parameters(), self.sparsity, target=options.target, most=most)

    @property
    def shape(self) -> Architecture:
        """What the size formula counts."""
        return gated_shape(self.student.architecture, self.gates)

    def sparsity(self) -> Float[Tensor, ""]:
        """Expected share of the teacher's parameters that is gone, in float64, with a gradient."""
        size = n_parameters(self.shape, Sizes.expected(self.gates, self.student.architecture))
        assert isinstance(size, Tensor), "there is at least one gate"
        return 1 - size / self.teacher_size

    def forward(
        self, update: int, waves: Float[Tensor, "batch samples"], shared: torch.Generator
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        taught = self.teach(waves)
        states = self.student.walk(waves, self.gates.masks(shared), layer_zero=self.averages.layer_zero)
        distance, log = self.target(self.averages(states), taught)
        sparsity = self.sparsity()
        wanted = self.options.target * min(1.0, update / max(1, self.options.ramp_updates))
        log |= {
            "distance": distance.detach(),
            "sparsity": sparsity.detach(),
            "sparsity_target": torch.tensor(wanted, dtype=torch.float64, device=waves.device),
            "lambda_linear": self.lagrangian.linear.detach().clone(),
            "lambda_quadratic": self.lagrangian.quadratic.detach().clone(),
        }
        if self.shrink_every_updates is not None:
            size = size_of(self.student)
            log["trained_parameters"] = torch.tensor(size, dtype=torch.float64, device=waves.device)
        return distance + self.lagrangian(sparsity, wanted), log
