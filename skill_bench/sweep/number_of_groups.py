"""How many groups keep most of a teacher: a short distillation for each number, and what is left on other speech."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from skill_bench.base.errors import UsageError
from skill_bench.base.progress import Progress
from skill_bench.corpora.data import Utterance
from skill_bench.distillation.distill import distill
from skill_bench.distillation.recipe import Recipe
from skill_bench.fidelity.measure import measure
from skill_bench.layers.options import FixedGroups
from skill_bench.models import checkpoint
from skill_bench.models.checkpoint import LoadedModel
from skill_bench.records.fidelity import Fidelity
from skill_bench.records.record import System
from skill_bench.records.similarity import Groups
from skill_bench.training.engine import Processes
from skill_bench.upstream.encoder import EncoderUpstream
from skill_bench.upstream.expert import from_checkpoint


@dataclass(frozen=True, kw_only=True)
class Tried:
    """One number of groups, the groups that it gives, and what the student keeps; all heard the same speech."""

    n_groups: int
    groups: Groups
    fidelity: Fidelity


def try_numbers(
    teacher: LoadedModel,
    utterances: Sequence[Utterance],
    held_out: Sequence[Utterance],
    *,
    recipe: Recipe,
    numbers: Sequence[int],
    folder: Path,
    corpus: str = "held-out",
    n_folds: int = 5,
    processes: Processes | None = None,
    progress: Progress | None = None,
) -> list[Tried]:
    """A student of each number of groups by ``recipe``, whose updates should be few, from the one that keeps most.

    A killed run goes on in ``folder``: finished students are taken, the others are continued.

    Args:
        held_out: Speech of other speakers, that no result which is reported later is measured on.
        n_folds: As for :func:`skill_bench.fidelity.measure.measure`.

    Raises:
        UsageError: a recipe whose groups are given by hand, no number, or speech that is on both sides.
        SkillBenchError: as :func:`skill_bench.distillation.distill.distill` and the measure of fidelity.
    """
    _check(utterances, held_out, recipe=recipe, numbers=numbers)
    paths, groups = [], []
    for number in numbers:
        path = folder / f"groups-{number}.safetensors"
        options = recipe.groups.model_copy(update={"n_groups": number})
        student = distill(
            teacher,
            utterances,
            recipe=recipe.model_copy(update={"groups": options}),
            folder=path.with_suffix(".work"),
            processes=processes,
            progress=progress,
            title=f"distill {recipe.name}, {number} groups",
            cache_dir=folder,
        )
        checkpoint.save(student.encoder, path, metadata=student.metadata, dtype=torch.float32)
        paths.append(path)
        groups.append(student.groups)
    heard = measure(
        EncoderUpstream(loaded=teacher, system=System(name="teacher", title="Teacher", kind="teacher", identity="")),
        [from_checkpoint(path.stem, path).freeze() for path in paths],
        held_out,
        corpus=corpus,
        n_folds=n_folds,
        progress=progress,
    )
    tried = [Tried(n_groups=n, groups=g, fidelity=f) for n, g, f in zip(numbers, groups, heard, strict=True)]
    return sorted(tried, key=lambda one: -one.fidelity.readings[0].whitened.value)


def _check(
    utterances: Sequence[Utterance], held_out: Sequence[Utterance], *, recipe: Recipe, numbers: Sequence[int]
) -> None:
    if isinstance(recipe.groups, FixedGroups):
        raise UsageError(
            f"recipe {recipe.name}: its groups are given by hand, so there is no number to choose. Take a recipe whose "
            "groups.method is similarity, uniform or random."
        )
    if not numbers or min(numbers) < 1:
        raise UsageError(f"numbers of groups {list(numbers)}: expected one or more, each at least 1.")
    known = {utterance.path.resolve() for utterance in utterances}
    both = [utterance.path for utterance in held_out if utterance.path.resolve() in known]
    if both:
        raise UsageError(
            f"{len(both)} of {len(held_out)} held-out utterances are also trained on, first {both[0]}: a student knows "
            "them. Name speech of other speakers with --held-out, or another --split."
        )
