"""Students of which nothing is left to do: recorded already, or the same as another, weight by weight.

The latter's recipes differ only in how they look for groups.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from skill_bench.base.errors import RecordError, UsageError
from skill_bench.distillation.groups import choose, weights
from skill_bench.distillation.recipe import Recipe
from skill_bench.evaluation.task_files import is_trained, load_task
from skill_bench.layers.options import SimilarGroups
from skill_bench.records.fidelity import Fidelity
from skill_bench.records.record import Key, Record, System, find_record
from skill_bench.records.similarity import Groups, LayerSimilarity, Weights
from skill_bench.sweep.grid import Grid, Job, by_suite


def recorded_weights(job: Job, *, grid: Grid, records: Path, teacher_sha256: str) -> str | None:
    """The hash of the one student of which ``records`` hold every cell of ``job``; None where they do not.

    Cells are finished, of its recipe and teacher, of today's task versions. Where it has no task nobody knows: records
    alone say of which recipe a student was.
    """
    keys = [
        Key(suite=suite, task=task, task_version=load_task(task).version, upstream=job.name, seed=seed)
        for suite, tasks in by_suite(job.tasks).items()
        for task in tasks
        for seed in (grid.probe_seeds if is_trained(task) else grid.probe_seeds[:1])
    ]
    found = {_weights(job, find_record(records, key), key, grid=grid, teacher_sha256=teacher_sha256) for key in keys}
    return found.pop() if len(found) == 1 else None


def measured_student(path: Path | None) -> System | None:
    """Of which student ``path`` holds the fidelity; None where it holds none."""
    try:
        return None if path is None else Fidelity.read(path).student
    except RecordError:
        return None


def read_recipe(text: object) -> Recipe | None:
    """The recipe in a student's metadata, with the defaults of fields that came later; None where it is none."""
    try:
        return Recipe.model_validate_json(str(text))
    except ValidationError:
        return None


def _weights(job: Job, path: Path | None, key: Key, *, grid: Grid, teacher_sha256: str) -> str | None:
    """The hash of the weights that a cell was computed with; None where it is not the job's."""
    if path is None:
        return None
    try:
        record = Record.read(path)
    except RecordError:
        return None  # whoever runs the cell is told
    said = record.system.details
    fits = (
        record.status == "finished"
        and record.key == key
        and record.data is not None
        and record.data.limit == grid.limit
        and said.get("teacher_sha256") == teacher_sha256
        and read_recipe(said.get("recipe")) == job.recipe
    )
    return record.system.checkpoint_sha256 if fits else None


def same_students(jobs: Sequence[Job], similarity: LayerSimilarity) -> Mapping[str, Job]:
    """The later job's name -> the first job of the same seed that finds the same groups and is alike in all else.

    A job is only compared where ``similarity`` is what its own calibration would find: the same seed and utterances. A
    row counts whole: one with another seed that is not known to be the same would be a mean over fewer seeds.
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
    partly = {job.row.name for job in jobs if job.name not in found}
    return {job.name: found[job.name] for job in jobs if job.name in found and job.row.name not in partly}


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
