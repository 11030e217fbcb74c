"""Students that would come out the same, weight by weight: recipes that differ only in how they look for groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from skill_bench.base.errors import UsageError
from skill_bench.distillation.groups import choose, weights
from skill_bench.distillation.recipe import Recipe
from skill_bench.layers.options import SimilarGroups
from skill_bench.records.similarity import Groups, LayerSimilarity, Weights
from skill_bench.sweep.grid import Job


def same_students(jobs: Sequence[Job], similarity: LayerSimilarity) -> Mapping[str, Job]:
    """The later job's name -> the first job of the same seed that finds the same groups and is alike in all else.

    A job is only compared where ``similarity`` is what its own calibration would find: the same seed and utterances.
    """
    first: dict[str, Job] = {}
    found: dict[str, Job] = {}
    for job in jobs:
        if job.recipe is None or (groups := _groups(job.recipe, similarity)) is None:
            continue
        key = f"{groups} {job.recipe.model_dump_json(exclude={'groups'})}"
        if key in first:
            found[job.name] = first[key]
        first.setdefault(key, job)
    return found


def _groups(recipe: Recipe, similarity: LayerSimilarity) -> tuple[Groups, Groups, Weights | None] | None:
    options = recipe.groups
    if not isinstance(options, SimilarGroups):
        return None
    if (recipe.seed, options.n_calibration_utterances) != (similarity.seed, similarity.n_utterances):
        return None
    for one in similarity.measures:
        if one.measure == options.measure:
            try:
                matrix = np.array(one.matrix)
                taught, learnt = choose(recipe, n_states=len(matrix), similarity=matrix)
                return taught, learnt, weights(recipe, taught, similarity=matrix)
            except UsageError:  # its own distillation says why, and the others go on
                return None
    return None
