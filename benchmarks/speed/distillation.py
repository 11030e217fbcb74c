"""A joint update of distillation and pruning: ours against a straightforward one, and before and after removal."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor

from skill_bench.base.sample_rate import SAMPLE_RATE_HZ
from skill_bench.distillation.losses import Averages, GroupDistillation
from skill_bench.distillation.objectives import JointObjective, teaching
from skill_bench.distillation.recipe import Loss, load_recipe
from skill_bench.measure.throughput import noise
from skill_bench.models.architecture import Architecture
from skill_bench.models.encoder import Encoder, pad
from skill_bench.models.size import size_of
from skill_bench.pruning.options import Sparsity
from skill_bench.training.engine import adamw
from speed.contest import Candidates
from speed.encoders import OURS, base_plus, same_models
from speed.straightforward import Straightforward

_TOLERANCE = 1e-3
"""Of the losses: means over float32 sums of some thousand terms."""


def against_straightforward(
    *, batch_size: int = 4, utterance_seconds: float = 6.0, architecture: Architecture | None = None
) -> Candidates:
    """One joint update at WavLM Base+'s size, and the same with torchaudio's model.

    Raises:
        AssertionError: they do not give the same loss with all gates open.
    """
    whole = architecture or base_plus()
    ours, theirs = same_models(whole)
    objective = joint_objective(ours)
    other = Straightforward(
        theirs, copy.deepcopy(theirs), _target(ours, _loss()), objective.gates, objective.averages.groups
    )
    waves = _waves(batch_size, utterance_seconds)
    _check_equal(objective, other, waves)
    return Candidates(
        name="Distillation step, WavLM Base+",
        what=(
            f"One update of the joint stage on {batch_size} utterances of {utterance_seconds:g} s: teacher, gated "
            f"student of {_millions(objective.student)} parameters, distance to it, backward, AdamW, float32. "
            "Straightforward: "
            "torchaudio's model twice, eager, position bias laid out for every utterance, gates multiplied in, all "
            "hidden states of both kept. Memory: most that one update allocates at one time, gradients included, "
            "weights and optimiser not."
        ),
        amount=batch_size * utterance_seconds,
        unit="s of audio",
        run={
            OURS: _updates(objective, waves),
            "straightforward": _straightforward_updates(other, objective, waves),
        },
        memory=True,
    )


def before_and_after_removal(
    *, batch_size: int = 4, utterance_seconds: float = 6.0, architecture: Architecture | None = None
) -> Candidates:
    """A joint update before and after the units whose gates are shut have been removed.

    A third of the channels, two thirds of the heads and five sixths of the feed-forward units are shut: the student of
    `encoders.pruned`, about a quarter of the parameters, as at the recipes' sparsity.
    """
    whole = architecture or base_plus()
    torch.manual_seed(0)
    teacher = Encoder(whole).eval()
    full, removed = joint_objective(teacher), joint_objective(teacher)
    waves = _waves(batch_size, utterance_seconds)
    optimizer = optimizer_of(removed)
    _shut_most(removed)
    shut = joint_objective(teacher)
    _shut_most(shut)
    removed.gates.masks(torch.Generator().manual_seed(0))  # one update's samples: those gates stay shut
    removed.shrink(optimizer)
    assert size_of(removed.student) < size_of(full.student), "nothing was removed"
    return Candidates(
        name=f"Prune as you go, {_millions(full.student)}",
        what=(
            f"One update of the joint stage on {batch_size} utterances of {utterance_seconds:g} s, teacher included, "
            f"with the student of {_millions(full.student)} parameters, and with the "
            f"{_millions(removed.student)} that are left once the units whose gates stay shut have been removed "
            "(recipe option sparsity.remove_after_updates)."
        ),
        amount=batch_size * utterance_seconds,
        unit="s of audio",
        run={
            "after removal": _updates(removed, waves, optimizer),
            "the same gates shut, nothing removed": _updates(shut, waves),
            "gates as they start": _updates(full, waves),
        },
        memory=True,
    )


def _shut_most(objective: JointObjective) -> None:
    for kind, share in (("channels", 1 / 3), ("heads", 2 / 3), ("ffn", 5 / 6)):
        for gate in getattr(objective.gates, kind):
            n = int(share * len(gate.log_alpha))
            gate.log_alpha.data[:n], gate.log_alpha.data[n:] = -40.0, 5.0


def joint_objective(teacher: Encoder) -> JointObjective:
    """The joint stage of recipe ``skill``, in groups of three layers, with a copy of the teacher as student."""
    student = Encoder(teacher.architecture).train()
    student.load_state_dict(teacher.state_dict())
    n = len(teacher.layers)
    groups = tuple(tuple(range(first, min(first + 3, n + 1))) for first in range(1, n + 1, 3))
    averages = Averages(groups=groups)
    recipe = load_recipe("skill", changes=["sparsity.remove_after_updates=1"])
    assert recipe.sparsity
    options: Sparsity = recipe.sparsity
    return JointObjective(
        student,
        _target(teacher, recipe.loss, n_groups=len(groups)),
        teach=teaching(teacher, averages),
        averages=averages,
        options=options,
        teacher_size=size_of(teacher),
    ).train()


def _loss() -> Loss:
    return load_recipe("skill").loss


def _target(teacher: Encoder, options: Loss, *, n_groups: int | None = None) -> GroupDistillation:
    n_groups = n_groups or -(-len(teacher.layers) // 3)
    return GroupDistillation(dim=teacher.architecture.dim, n_groups=n_groups, options=options)


def optimizer_of(module: torch.nn.Module) -> torch.optim.Optimizer:
    """As the recipe has it."""
    return adamw(module.parameters(), options=load_recipe("skill").optimizer)


def _updates(
    objective: JointObjective, waves: Tensor, optimizer: torch.optim.Optimizer | None = None
) -> Callable[[], object]:
    optimizer = optimizer or optimizer_of(objective)
    number = iter(range(1 << 30))

    def run() -> float:
        loss, _ = objective(0, waves, torch.Generator().manual_seed(next(number)))
        return _finish(loss, optimizer)

    return run


def _straightforward_updates(other: Straightforward, ours: JointObjective, waves: Tensor) -> Callable[[], object]:
    optimizer = torch.optim.AdamW([p for p in other.parameters() if p.requires_grad])
    number = iter(range(1 << 30))

    def run() -> float:
        loss = other(waves, torch.Generator().manual_seed(next(number)))
        return _finish(loss + ours.lagrangian(ours.sparsity(), 0.0), optimizer)

    return run


def _finish(loss: Tensor, optimizer: torch.optim.Optimizer) -> float:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    value = float(loss.item())
    assert value == value, "the loss is not a number"
    return value


@torch.no_grad()
def _check_equal(ours: JointObjective, other: Straightforward, waves: Tensor) -> None:
    """The same loss where every gate is open: nobody is timed on other work."""
    before = [gate.clone() for gate in ours.gates.parameters()]
    for gate in ours.gates.parameters():
        gate.fill_(8.0)
    short = waves[:1, :SAMPLE_RATE_HZ]
    expected = float(ours(0, short, torch.Generator().manual_seed(0))[0])
    found = float(other(short, torch.Generator().manual_seed(0)))
    assert abs(found - expected) < _TOLERANCE * abs(expected), f"losses differ: {found} and {expected}"
    for gate, value in zip(ours.gates.parameters(), before, strict=True):
        gate.copy_(value)


def _waves(batch_size: int, seconds: float) -> Tensor:
    return pad(noise(batch_size=batch_size, seconds=seconds, device=torch.device("cpu"), dtype=torch.float32))[0]


def _millions(module: torch.nn.Module) -> str:
    return f"{size_of(module) / 1e6:.1f} M"
