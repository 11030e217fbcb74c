"""The whole path from a teacher to a student: similarity, groups, joint stage, pruning, final stage."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from skill_bench.base.counted import counted
from skill_bench.base.errors import SkillBenchError
from skill_bench.base.progress import Progress, Silent
from skill_bench.base.provenance import hardware
from skill_bench.corpora.data import Utterance
from skill_bench.corpora.listing import content_fingerprint, speech_fingerprint
from skill_bench.distillation import groups as layer_groups
from skill_bench.distillation import run_file
from skill_bench.distillation.losses import Averages, GroupDistillation
from skill_bench.distillation.objectives import FinalObjective, JointObjective, Teach, teaching
from skill_bench.distillation.recipe import Recipe
from skill_bench.distillation.run_file import RunFile
from skill_bench.layers.measure import measure
from skill_bench.layers.options import SimilarGroups
from skill_bench.models.architecture import Architecture
from skill_bench.models.checkpoint import LoadedModel
from skill_bench.models.encoder import Encoder
from skill_bench.models.size import size_of
from skill_bench.pruning.options import Sparsity
from skill_bench.pruning.prune import prune
from skill_bench.pruning.sparsity import require_reachable, settle
from skill_bench.records.similarity import CARRIED, SIMILARITY_FILE, Groups, LayerSimilarity
from skill_bench.training.batches import SpeechBatches
from skill_bench.training.engine import Engine, Processes, adamw
from skill_bench.training.loop import Objective, Schedule, Training
from skill_bench.training.options import Stage

_LEARNT_WITHIN, _PRUNED_WITHIN = 0.1, 0.005
"""How far from the target is not worth a note. The multipliers swing around it: bundled students came to +0.05."""


@dataclass(frozen=True, kw_only=True)
class Student:
    """What a distillation gives.

    Attributes:
        encoder: small and plain.
        groups: layers of each target.
        similarity: of the teacher's layers, None where the recipe does not look for groups.
        metadata: recipe, teacher, groups and sizes, as strings for the checkpoint.
    """

    encoder: Encoder
    groups: Groups
    similarity: LayerSimilarity | None
    metadata: dict[str, str]


def distill(
    teacher: LoadedModel,
    utterances: Sequence[Utterance],
    *,
    recipe: Recipe,
    folder: Path,
    processes: Processes | None = None,
    progress: Progress | None = None,
    title: str | None = None,
    cache_dir: Path | None = None,
) -> Student:
    """Distils ``teacher`` into a student; a killed run continues in ``folder``. Every process gets the student.

    Args:
        processes: default: one, on a GPU where there is one.
        cache_dir: where hashes of the speech are remembered; default: ``folder``.
        title: what progress calls the training; default: by its recipe.

    Raises:
        UsageError: groups that name layers the teacher or the student does not have; a sparsity that its gates cannot
            reach; a folder with another run.
        SkillBenchError: a joint stage that ends farther from its target than the recipe's tolerance.
        DataError: speech that gives no similarity of layers, or too short utterances.
        AudioError: lists every damaged file, before anything is trained.
    """
    processes = processes or Engine().launch()
    encoder = teacher.encoder
    processes.fabric.to_device(encoder)
    progress = progress or Silent()
    before = size_of(encoder)
    if recipe.sparsity:
        require_reachable(_shape(encoder, recipe), recipe.sparsity, full_size=before)
    batches = SpeechBatches(
        utterances,
        seconds_per_batch=recipe.data.seconds_per_batch,
        min_seconds=recipe.data.min_seconds,
        max_seconds=recipe.data.max_seconds,
        seed=recipe.seed,
        length_jitter=recipe.data.length_jitter,
    )
    if n_short := len(utterances) - len(batches.utterances):
        progress.note(
            f"{len(batches.utterances)} of {len(utterances)} utterances take part, {batches.hours:.2f} h; "
            f"{counted(n_short, 'is', 'are')} shorter than data.min_seconds = {recipe.data.min_seconds:g}"
        )
    plan, alike = _plan(teacher, utterances, recipe, folder, processes, progress, cache_dir=cache_dir or folder)
    shown, answered = layer_groups.averages(
        recipe, taught=plan.layer_groups, learnt=plan.student_groups, weights=plan.layer_weights
    )
    torch.manual_seed(recipe.seed)
    run = _Run(
        recipe=recipe,
        teach=teaching(encoder, shown),
        averages=answered,
        batches=batches,
        folder=folder,
        processes=processes,
        progress=progress,
        title=title or f"distill {recipe.name}",
    )
    target = GroupDistillation(dim=encoder.architecture.dim, n_groups=len(answered.groups), options=recipe.loss)
    student = _copy(encoder, recipe)  # draws random numbers: what comes after it depends on its place
    took: list[float | None] = []
    learnt_sparsity = None
    if recipe.joint and recipe.sparsity:
        pruned = run.joint(student, target, recipe.joint, recipe.sparsity, teacher_size=before)
        student, target, learnt_sparsity = pruned.student, pruned.target, pruned.learnt_sparsity
        took.append(pruned.seconds)
    after = size_of(student)
    if recipe.sparsity and learnt_sparsity is not None:
        _say_what_was_missed(progress, recipe.sparsity.target, learnt=learnt_sparsity, pruned=1 - after / before)
    took.append(run.final(student, target))
    metadata = _metadata(
        plan, alike, before=before, after=after, learnt_sparsity=learnt_sparsity, hours=batches.hours, took=took,
        processes=processes,
    )  # fmt: skip
    student = student.eval().requires_grad_(False)
    return Student(encoder=student, groups=plan.layer_groups, similarity=alike, metadata=metadata)


def _metadata(
    plan: RunFile,
    alike: LayerSimilarity | None,
    *,
    before: int,
    after: int,
    learnt_sparsity: float | None,
    hours: float,
    took: Sequence[float | None],
    processes: Processes,
) -> dict[str, str]:
    """What the checkpoint says of itself.

    Args:
        before, after: Parameters of teacher and student.
        hours: Of speech.
        took: Seconds of each stage, where they are known.
    """
    found = plan.metadata() | {
        "n_parameters": str(after),
        "teacher_n_parameters": str(before),
        "sparsity": f"{1 - after / before:.6f}",
        "training_hours": f"{hours:.3f}",
    }
    if learnt_sparsity is not None:
        found["learnt_sparsity"] = f"{learnt_sparsity:.6f}"
    if None not in took:
        found["compression_hours"] = f"{sum(filter(None, took)) / 3600:.4g}"
        device = hardware().device_name(processes.fabric.device.type)
        found["compressed_on"] = f"{processes.fabric.world_size} x {device}"
    if alike is not None:
        found[CARRIED] = alike.to_json()
    return found


def _plan(
    teacher: LoadedModel,
    utterances: Sequence[Utterance],
    recipe: Recipe,
    folder: Path,
    processes: Processes,
    progress: Progress,
    *,
    cache_dir: Path,
) -> tuple[RunFile, LayerSimilarity | None]:
    """What ``folder`` is continued with; a new folder is planned, once all audio has been found to be sound."""
    path = folder / run_file.NAME
    begun = processes.fabric.broadcast(path.exists())
    if not begun:
        processes.check_audio(utterances, progress)
    contents = content_fingerprint(utterances, cache_dir=cache_dir) if processes.is_first else None
    same: dict[str, Any] = {
        "recipe": recipe,
        "teacher_sha256": teacher.sha256,
        "data_fingerprint": speech_fingerprint(utterances),
        "content_fingerprint": processes.fabric.broadcast(contents),
        "precision": processes.engine.precision,
    }
    if begun:
        found = RunFile.read(path)
        found.require_same(path, **same)
        if found.content_fingerprint is None:
            progress.note(
                f"{path}: was begun by a version that knew the speech by names and durations alone. It goes on; that "
                "no file was changed since is not checked."
            )
        if found.recipe != recipe:  # its joint stage is to take longer
            found = found.model_copy(update={"recipe": recipe})
            if processes.is_first:
                found.write(path)
        return found, _layers_alike(teacher, utterances, recipe, folder, processes, progress, read=True)
    alike = _layers_alike(teacher, utterances, recipe, folder, processes, progress)
    similarity = None if alike is None else np.array(alike.measures[0].matrix)
    taught, learnt = layer_groups.choose(recipe, n_states=len(teacher.encoder.layers) + 1, similarity=similarity)
    weights = layer_groups.weights(recipe, taught, similarity=similarity)
    planned = RunFile(**same, layer_groups=taught, student_groups=learnt, layer_weights=weights)
    if processes.is_first:
        planned.write(path)
    return planned, alike


def _layers_alike(
    teacher: LoadedModel,
    utterances: Sequence[Utterance],
    recipe: Recipe,
    folder: Path,
    processes: Processes,
    progress: Progress,
    *,
    read: bool = False,
) -> LayerSimilarity | None:
    """What the groups are found from, measured into ``folder``; None where the recipe does not look for them.

    Args:
        read: A file that is there is taken.
    """
    options, path = recipe.groups, folder / SIMILARITY_FILE
    if not isinstance(options, SimilarGroups):
        return None
    if read and processes.fabric.broadcast(path.exists()):
        return LayerSimilarity.read(path)
    measured = measure(
        teacher,
        utterances,
        name=teacher.metadata.get("title", "teacher"),
        measures=(options.measure,),
        n_groups=options.n_groups,
        linkage=options.linkage,
        contiguous=options.contiguous,
        # The document clusters all layers; where the recipe leaves layer 0 out, a limit is of the others.
        largest=options.largest if options.include_input else False,
        n_utterances=options.n_calibration_utterances,
        seed=recipe.seed,
        progress=progress,
    )
    found: LayerSimilarity = processes.fabric.broadcast(measured)
    if processes.is_first:
        found.write(path)
    return found


@dataclass(frozen=True, kw_only=True)
class _Pruned:
    """What the joint stage gives; ``learnt_sparsity``: what the gates were expected to remove before they settled."""

    student: Encoder
    target: GroupDistillation
    seconds: float | None
    learnt_sparsity: float


@dataclass(frozen=True, kw_only=True)
class _Run:
    """What both stages need. ``averages``: of the student's layers, for each target."""

    recipe: Recipe
    teach: Teach
    averages: Averages
    batches: SpeechBatches
    folder: Path
    processes: Processes
    progress: Progress
    title: str

    def joint(
        self, student: Encoder, target: GroupDistillation, stage: Stage, options: Sparsity, *, teacher_size: int
    ) -> _Pruned:
        objective = JointObjective(
            student,
            target,
            teach=self.teach,
            averages=self.averages,
            options=options,
            teacher_size=teacher_size,
        )
        parameters: list[dict[str, Any]] = [
            {"params": [*student.parameters(), *target.parameters()]},
            {"params": list(objective.gates.parameters()), "peak": options.gate_learning_rate},
            {
                "params": list(objective.lagrangian.parameters()),
                "peak": options.multiplier_learning_rate,
                "maximize": True,
            },
        ]
        seconds = self._train("joint", stage, objective, parameters)
        learnt = objective.sparsity().item()
        _require_learnt(learnt, options, stage, self.folder)
        settle(objective.gates, objective.shape, target=options.target, full_size=teacher_size)
        # A copy: what DDP attached to the parameters of this stage stays with this stage.
        return _Pruned(
            student=prune(objective.student, objective.gates.eval().masks()),
            target=copy.deepcopy(target),
            seconds=seconds,
            learnt_sparsity=learnt,
        )

    def final(self, student: Encoder, target: GroupDistillation) -> float | None:
        if student.position_bias is not None and not any(layer.heads for layer in student.architecture.layers):
            student.position_bias.requires_grad_(False)  # no attention is left that could teach it anything
        objective = FinalObjective(student, target, teach=self.teach, averages=self.averages)
        parameters = [parameter for parameter in objective.parameters() if parameter.requires_grad]
        return self._train("final", self.recipe.final, objective, [{"params": parameters}])

    def _train(self, name: str, stage: Stage, objective: Objective, parameters: list[dict[str, Any]]) -> float | None:
        options = self.recipe.optimizer
        seconds = Training(
            name=name,
            folder=self.folder,
            processes=self.processes,
            objective=objective,
            optimizer=adamw(parameters, options=options, fused=self.processes.engine.precision != "fp16"),
            batches=self.batches,
            schedule=Schedule(
                n_updates=stage.n_updates,
                learning_rate=stage.learning_rate,
                warmup_updates=stage.warmup_updates,
                ends_at_zero=True,
            ),
            max_gradient_norm=options.max_gradient_norm,
            seed=self.recipe.seed,
            title=self.title,
            progress=self.progress,
        ).run()
        objective.cpu()
        return seconds


def _require_learnt(learnt: float, options: Sparsity, stage: Stage, folder: Path) -> None:
    """Checks that the joint stage ends near its target: what has to be moved further was not trained as it will be.

    Raises:
        SkillBenchError: it does not; says what to do.
    """
    if options.tolerance is False or abs(learnt - options.target) <= options.tolerance:
        return
    raise SkillBenchError(
        f"the joint stage ended at a sparsity of {learnt:.4f} where sparsity.target = {options.target:g}, farther than "
        f"sparsity.tolerance = {options.tolerance:g}. Its checkpoint stays in {folder}: the same command with more "
        f"updates (--set joint.n_updates={2 * stage.n_updates}) goes on from it. In another --work-dir, higher "
        "sparsity.gate_learning_rate and multiplier_learning_rate let the gates follow; sparsity.tolerance=false "
        "accepts any end."
    )


def _say_what_was_missed(progress: Progress, target: float, *, learnt: float, pruned: float) -> None:
    """Notes of a target that the gates did not come near, or that whole units do not meet."""
    if abs(learnt - target) > _LEARNT_WITHIN:
        progress.note(
            f"the gates had learnt a sparsity of {learnt:.3f} where {target:g} is the target, and all of them were "
            "moved to meet it. More joint updates, or higher sparsity.gate_learning_rate and "
            "multiplier_learning_rate, let them learn it."
        )
    if abs(pruned - target) > _PRUNED_WITHIN:
        progress.note(
            f"the student's sparsity is {pruned:.4f} where {target:g} is the target: what was gated is too coarse to "
            "meet it. Gates on feed-forward units (sparsity.ffn_drop_rate) are the finest."
        )


def _shape(teacher: Encoder, recipe: Recipe) -> Architecture:
    """Of the student before anything is pruned."""
    n_layers, whole = recipe.student.n_layers, teacher.architecture
    if not recipe.student.projection_norm:
        whole = replace(whole, projection_norm=False)
    return whole if n_layers == "all" else whole.with_layers(whole.layers[:n_layers])


def _copy(teacher: Encoder, recipe: Recipe) -> Encoder:
    """The teacher's front end and its first layers."""
    student = Encoder(_shape(teacher, recipe), in_training=recipe.student.in_training)
    kept = student.state_dict().keys()
    student.load_state_dict({name: value for name, value in teacher.state_dict().items() if name in kept})
    return student
