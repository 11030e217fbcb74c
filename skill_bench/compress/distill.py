"""The whole path from a teacher to a student: similarity, groups, joint stage, pruning, final stage."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from skill_bench.compress.batches import Batch, SpeechBatches
from skill_bench.compress.calibrate import calibrate
from skill_bench.compress.cluster import layer_groups
from skill_bench.compress.gates import Gates
from skill_bench.compress.loop import Progress, Schedule, optimise
from skill_bench.compress.losses import GroupDistillation
from skill_bench.compress.prune import prune
from skill_bench.compress.recipe import Recipe, Stage
from skill_bench.compress.sparsity import Lagrangian, Sizes, n_parameters, settle
from skill_bench.corpora.data import Utterance
from skill_bench.errors import UsageError
from skill_bench.layer_similarity import Groups
from skill_bench.models.architecture import Architecture
from skill_bench.models.checkpoint import LoadedModel
from skill_bench.models.encoder import Encoder


@dataclass(frozen=True, kw_only=True)
class Student:
    """What a distillation gives.

    Attributes:
        encoder: small and plain.
        groups: layers of each target.
        similarity: ``(layers, layers)`` of the teacher, None where the recipe fixed the groups.
        metadata: recipe, teacher, groups and sizes, as strings for the checkpoint.
    """

    encoder: Encoder
    groups: Groups
    similarity: NDArray[np.float64] | None
    metadata: dict[str, str]


def distill(
    teacher: LoadedModel,
    utterances: Sequence[Utterance],
    *,
    recipe: Recipe,
    folder: Path,
    progress: Progress | None = None,
) -> Student:
    """Distils ``teacher`` into a student; a killed run continues in ``folder``.

    Raises:
        UsageError: groups that name layers the teacher does not have.
    """
    encoder = teacher.encoder
    similarity, groups = _groups(encoder, utterances, recipe)
    n_states = len(encoder.layers) + 1
    beyond = sorted({layer for group in groups for layer in group if not 0 <= layer < n_states})
    if beyond:
        raise UsageError(f"recipe {recipe.name}: layers {beyond} do not exist; the teacher has 0 to {n_states - 1}.")
    batches = SpeechBatches(
        utterances,
        seconds_per_batch=recipe.seconds_per_batch,
        min_seconds=recipe.min_seconds,
        max_seconds=recipe.max_seconds,
        seed=recipe.seed,
    )
    torch.manual_seed(recipe.seed)
    target = GroupDistillation(dim=encoder.architecture.dim, groups=groups, projections=recipe.projections(len(groups)))
    gates, student = _joint_stage(encoder, target, batches, recipe, folder, progress)
    settle(gates, _pruned_shape(student), target=recipe.sparsity.target)
    pruned = prune(student, gates.eval().masks())
    _final_stage(encoder, pruned, target, batches, recipe, folder, progress)
    before, after = _size(encoder), _size(pruned)
    metadata = {
        "recipe": recipe.model_dump_json(),
        "teacher_sha256": teacher.sha256,
        "layer_groups": json.dumps(groups),
        "n_parameters": str(after),
        "teacher_n_parameters": str(before),
        "sparsity": f"{1 - after / before:.6f}",
        "training_hours": f"{batches.hours:.3f}",
    }
    if similarity is not None:
        metadata["similarity"] = json.dumps(similarity.round(6).tolist())
    return Student(encoder=pruned.eval().requires_grad_(False), groups=groups, similarity=similarity, metadata=metadata)


def _groups(
    teacher: Encoder, utterances: Sequence[Utterance], recipe: Recipe
) -> tuple[NDArray[np.float64] | None, Groups]:
    if recipe.groups is not None:
        return None, recipe.groups
    options = recipe.clustering
    similarity = calibrate(
        teacher,
        utterances,
        n=options.n_calibration_utterances,
        seed=recipe.seed,
        measures=(options.measure,),
    )[options.measure]
    groups = layer_groups(
        similarity, n_groups=options.n_groups, linkage_method=options.linkage, contiguous=options.contiguous
    )
    return similarity, groups


def _joint_stage(
    teacher: Encoder,
    target: GroupDistillation,
    batches: SpeechBatches,
    recipe: Recipe,
    folder: Path,
    progress: Progress | None,
) -> tuple[Gates, Encoder]:
    student = _copy(teacher)
    options = recipe.sparsity
    gates = Gates(
        student.architecture,
        channel_drop=options.channel_drop_rate,
        head_drop=options.head_drop_rate,
        ffn_drop=options.ffn_drop_rate,
    )
    lagrangian = Lagrangian()
    full_size = n_parameters(student.architecture, Sizes.of(student.architecture))

    def loss_of(update: int, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        masks = gates.train().masks()
        distance, log = target(student.train()(batch.waves, None, masks)[0], _teach(teacher, batch.waves))
        sparsity = 1 - n_parameters(_pruned_shape(student), Sizes.expected(gates)) / full_size
        assert isinstance(sparsity, Tensor)
        wanted = options.target * min(1.0, update / max(1, options.ramp_updates))
        log |= {"distance": distance.item(), "sparsity": sparsity.item(), "sparsity_target": wanted}
        log |= {"lambda_linear": lagrangian.linear.item(), "lambda_quadratic": lagrangian.quadratic.item()}
        return distance + lagrangian(sparsity, wanted), log

    groups: list[dict[str, Any]] = [
        {"params": [*student.parameters(), *target.parameters()]},
        {"params": list(gates.parameters()), "peak": options.learning_rate},
        {"params": list(lagrangian.parameters()), "peak": options.learning_rate, "maximize": True},
    ]
    optimise(
        name="joint",
        folder=folder,
        modules={"student": student, "target": target, "gates": gates, "lagrangian": lagrangian},
        optimizer=torch.optim.AdamW(groups, weight_decay=0.0),
        loss_of=loss_of,
        batches=batches,
        schedule=_schedule(recipe.joint),
        max_gradient_norm=recipe.max_gradient_norm,
        seed=recipe.seed,
        progress=progress,
    )
    return gates, student


def _final_stage(
    teacher: Encoder,
    student: Encoder,
    target: GroupDistillation,
    batches: SpeechBatches,
    recipe: Recipe,
    folder: Path,
    progress: Progress | None,
) -> None:
    def loss_of(update: int, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        loss: tuple[Tensor, dict[str, float]] = target(student.train()(batch.waves)[0], _teach(teacher, batch.waves))
        return loss

    optimise(
        name="final",
        folder=folder,
        modules={"student": student, "target": target},
        optimizer=torch.optim.AdamW([*student.parameters(), *target.parameters()], weight_decay=0.0),
        loss_of=loss_of,
        batches=batches,
        schedule=_schedule(recipe.final),
        max_gradient_norm=recipe.max_gradient_norm,
        seed=recipe.seed + 1,
        progress=progress,
    )


@torch.no_grad()
def _teach(teacher: Encoder, waves: Float[Tensor, "batch samples"]) -> list[Float[Tensor, "batch frames dim"]]:
    states: list[Tensor] = teacher.eval()(waves)[0]
    return states


def _copy(teacher: Encoder) -> Encoder:
    student = Encoder(teacher.architecture)
    student.load_state_dict(teacher.state_dict())
    return student


def _pruned_shape(student: Encoder) -> Architecture:
    """What the size formula counts: a pruned encoder also has the factors that the last channels' gates leave."""
    return replace(student.architecture, channel_scale=True)


def _schedule(stage: Stage) -> Schedule:
    return Schedule(n_updates=stage.n_updates, learning_rate=stage.learning_rate, warmup_updates=stage.warmup_updates)


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
