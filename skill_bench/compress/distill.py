"""The whole path from a teacher to a student: similarity, groups, joint stage, pruning, final stage."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from skill_bench.compress import groups as layer_groups
from skill_bench.compress.batches import Batch, SpeechBatches
from skill_bench.compress.calibrate import calibrate
from skill_bench.compress.gates import Gates
from skill_bench.compress.loop import Progress, Schedule, optimise
from skill_bench.compress.losses import GroupDistillation, group_averages
from skill_bench.compress.prune import prune
from skill_bench.compress.recipe import Recipe, SimilarGroups, Sparsity, Stage
from skill_bench.compress.sparsity import Lagrangian, Sizes, n_parameters, settle
from skill_bench.corpora.data import Utterance
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
        UsageError: groups that name layers the teacher or the student does not have.
    """
    encoder = teacher.encoder.eval()
    similarity = None
    if isinstance(recipe.groups, SimilarGroups):
        measure, n = recipe.groups.measure, recipe.groups.n_calibration_utterances
        similarity = calibrate(encoder, utterances, n=n, seed=recipe.seed, measures=(measure,))[measure]
    taught, learnt = layer_groups.choose(recipe, n_states=len(encoder.layers) + 1, similarity=similarity)
    batches = SpeechBatches(
        utterances,
        seconds_per_batch=recipe.data.seconds_per_batch,
        min_seconds=recipe.data.min_seconds,
        max_seconds=recipe.data.max_seconds,
        seed=recipe.seed,
    )

    @torch.no_grad()
    def teach(waves: Float[Tensor, "batch samples"]) -> list[Float[Tensor, "batch frames dim"]]:
        return group_averages(encoder.walk(waves), taught)

    torch.manual_seed(recipe.seed)
    run = _Run(
        recipe=recipe,
        teach=teach,
        learnt=learnt,
        target=GroupDistillation(dim=encoder.architecture.dim, n_groups=len(taught), options=recipe.loss),
        batches=batches,
        folder=folder,
        progress=progress,
    )
    student = _copy(encoder, recipe)
    before = _size(encoder)
    if recipe.joint and recipe.sparsity:
        student = _joint_stage(run, student, recipe.joint, recipe.sparsity, before)
    _final_stage(run, student)
    after = _size(student)
    metadata = {
        "recipe": recipe.model_dump_json(),
        "teacher_sha256": teacher.sha256,
        "layer_groups": json.dumps(taught),
        "n_parameters": str(after),
        "teacher_n_parameters": str(before),
        "sparsity": f"{1 - after / before:.6f}",
        "training_hours": f"{batches.hours:.3f}",
    }
    if similarity is not None:
        metadata["similarity"] = json.dumps(similarity.round(6).tolist())
    return Student(
        encoder=student.eval().requires_grad_(False), groups=taught, similarity=similarity, metadata=metadata
    )


@dataclass(frozen=True, kw_only=True)
class _Run:
    """What both stages need. ``teach``: waves to the teacher's averages; ``learnt``: the student's layers for each."""

    recipe: Recipe
    teach: Callable[[Tensor], list[Tensor]]
    learnt: Groups
    target: GroupDistillation
    batches: SpeechBatches
    folder: Path
    progress: Progress | None

    def optimise(
        self,
        name: str,
        stage: Stage,
        modules: dict[str, nn.Module],
        groups: list[dict[str, Any]],
        loss_of: Callable[[int, Batch], tuple[Tensor, dict[str, float]]],
    ) -> None:
        options = self.recipe.optimizer
        optimise(
            name=name,
            folder=self.folder,
            modules={**modules, "target": self.target},
            optimizer=torch.optim.AdamW(groups, betas=options.betas, weight_decay=options.weight_decay),
            loss_of=loss_of,
            batches=self.batches,
            schedule=Schedule(
                n_updates=stage.n_updates, learning_rate=stage.learning_rate, warmup_updates=stage.warmup_updates
            ),
            max_gradient_norm=options.max_gradient_norm,
            seed=self.recipe.seed + (name == "final"),
            progress=self.progress,
        )


def _joint_stage(run: _Run, student: Encoder, stage: Stage, options: Sparsity, teacher_size: int) -> Encoder:
    gates, lagrangian = Gates(student.architecture, options), Lagrangian()
    shape = _pruned_shape(student, options)

    def loss_of(update: int, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        averages = group_averages(student.train().walk(batch.waves, gates.train().masks()), run.learnt)
        distance, log = run.target(averages, run.teach(batch.waves))
        sparsity = 1 - n_parameters(shape, Sizes.expected(gates, student.architecture)) / teacher_size
        assert isinstance(sparsity, Tensor)
        wanted = options.target * min(1.0, update / max(1, options.ramp_updates))
        log |= {"distance": distance.detach(), "sparsity": sparsity.detach(), "sparsity_target": wanted}
        log |= {
            name: value.detach()
            for name, value in (("lambda_linear", lagrangian.linear), ("lambda_quadratic", lagrangian.quadratic))
        }
        return distance + lagrangian(sparsity, wanted), {key: float(value) for key, value in log.items()}

    run.optimise(
        "joint",
        stage,
        {"student": student, "gates": gates, "lagrangian": lagrangian},
        [
            {"params": [*student.parameters(), *run.target.parameters()]},
            {"params": list(gates.parameters()), "peak": options.gate_learning_rate},
            {"params": list(lagrangian.parameters()), "peak": options.multiplier_learning_rate, "maximize": True},
        ],
        loss_of,
    )
    settle(gates, shape, target=options.target, full_size=teacher_size)
    return prune(student, gates.eval().masks())


def _final_stage(run: _Run, student: Encoder) -> None:
    def loss_of(update: int, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        averages = group_averages(student.train().walk(batch.waves), run.learnt)
        loss, log = run.target(averages, run.teach(batch.waves))
        return loss, {key: float(value) for key, value in log.items()}

    parameters = [*student.parameters(), *run.target.parameters()]
    run.optimise("final", run.recipe.final, {"student": student}, [{"params": parameters}], loss_of)


def _copy(teacher: Encoder, recipe: Recipe) -> Encoder:
    """The teacher's front end and its first layers."""
    architecture = teacher.architecture
    if recipe.student.n_layers != "all":
        architecture = architecture.with_layers(architecture.layers[: recipe.student.n_layers])
    student = Encoder(architecture, dropout=recipe.student.dropout)
    kept = student.state_dict().keys()
    student.load_state_dict({name: value for name, value in teacher.state_dict().items() if name in kept})
    return student


def _pruned_shape(student: Encoder, options: Sparsity) -> Architecture:
    """What the size formula counts: a pruned encoder also has the factors that the last channels' gates leave."""
    pruned = student.architecture.channel_scale or options.channel_drop_rate is not False
    return replace(student.architecture, channel_scale=pruned)


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
