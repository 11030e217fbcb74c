"""A grid of students as one frozen object from one TOML file: recipes x changes x seeds, and what they are tested on.

design = "What was decided before the first result, shown at the top of the page."
tasks = ["local/ks", "local/pr", "dspspeech20/ks"]   # SUITE/TASK
seeds = [0, 1, 2]                              # of the distillation
probe_seeds = [0, 1, 2]
upstreams = ["fbank", "logmel", "random"]      # evaluated beside the students and their teacher
scale_updates = 0.02

[changes.data]                                 # of every recipe
seconds_per_batch = 16.0

[[fidelity]]                                   # speech on which students are held against their teacher
corpus = "librispeech"
data = ["librispeech/manifest.tsv"]            # relative to the suites' corpora
split = "test"

[[students]]
name = "skill"
recipe = "skill"

[[students]]
name = "skill-k2"
recipe = "skill"
seeds = [0]
tasks = ["local/ks"]                           # may be none: fidelity alone
changes = { groups = { n_groups = 2 } }

[[students]]
name = "elsewhere"
checkpoint = "students/elsewhere-{seed}.safetensors"   # evaluated as it is, not distilled
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, JsonValue, model_validator

from skill_bench.base import catalog, specs
from skill_bench.base.catalog import suites
from skill_bench.base.errors import SpecError, UnknownName
from skill_bench.base.specs import Count, Frozen, Positive, PositiveNumber
from skill_bench.distillation.recipe import Recipe, load_recipe

SEED = "{seed}"
"""Stands for the distillation seed in ``checkpoint`` and as a value in ``changes``."""
Seeds = Annotated[tuple[Count, ...], Field(min_length=1)]
Tasks = tuple[Annotated[str, Field(pattern=r"^[a-z0-9_-]+/[a-z0-9_-]+$")], ...]
"""``SUITE/TASK`` each."""
Changes = dict[str, JsonValue]


class FidelityCorpus(Frozen):
    """Speech that nothing was trained on; ``data`` relative to the suites' corpora, ``split`` of manifests or all."""

    corpus: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$", max_length=60)]
    data: Annotated[tuple[str, ...], Field(min_length=1)]
    split: str = "test"


class StudentRow(Frozen):
    """One row of the table: a recipe with changes, or checkpoints that are there already.

    ``recipe`` is a name or a TOML file relative to the grid; ``seeds`` and ``tasks`` None: the grid's.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$", max_length=60)]
    title: str | None = None
    recipe: str | None = None
    changes: Changes = Field(default_factory=dict)
    checkpoint: str | None = None
    seeds: Seeds | None = None
    tasks: Tasks | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.recipe is None) == (self.checkpoint is None):
            raise ValueError(f"student {self.name!r} needs either 'recipe' or 'checkpoint'")
        if self.checkpoint is not None and self.changes:
            raise ValueError(f"student {self.name!r}: 'changes' belong to a recipe, not to a checkpoint")
        if self.checkpoint is not None and SEED not in self.checkpoint and len(self.seeds or ()) != 1:
            raise ValueError(f"student {self.name!r}: one checkpoint is one seed; put {SEED} in its name or give seeds")
        return self


class Grid(Frozen):
    """Everything that a run of the evidence decides; see the module's text for an example."""

    design: str | None = None
    tasks: Tasks
    fidelity: tuple[FidelityCorpus, ...] = ()
    seeds: Seeds
    probe_seeds: Seeds
    upstreams: tuple[str, ...] = ()
    limit: Positive | None = None
    scale_updates: PositiveNumber = 1.0
    changes: Changes = Field(default_factory=dict)
    students: tuple[StudentRow, ...]

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [row.name for row in self.students]
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"students {', '.join(repeated)} occur more than once; give each its own name")
        if taken := sorted({*names} & {"teacher", *self.upstreams}):
            raise ValueError(f"students are called {', '.join(taken)}, as upstreams are; give them other names")
        corpora = [one.corpus for one in self.fidelity]
        if repeated := sorted({name for name in corpora if corpora.count(name) > 1}):
            raise ValueError(f"fidelity on {', '.join(repeated)} occurs more than once; give each its own name")
        return self


@dataclass(frozen=True, kw_only=True)
class Job:
    """One student: a row of the grid and a distillation seed. ``checkpoint`` where it is not to be distilled.

    ``tasks`` are those that it is tested on, ``SUITE/TASK`` each.
    """

    row: StudentRow
    seed: int
    tasks: tuple[str, ...]
    recipe: Recipe | None
    checkpoint: Path | None

    @property
    def name(self) -> str:
        """What its records call it: ``skill-k4-s0``."""
        return f"{self.row.name}-s{self.seed}"


def read_grid(path: Path) -> tuple[Grid, list[Job]]:
    """The grid in ``path`` and its jobs, in rounds: the first seed of every row, then the second...

    Raises:
        SpecError: the file, or one of the recipes with its changes, is not valid.
        UnknownName: no recipe, suite, task or upstream of that name.
    """
    grid = specs.validate(Grid, specs.read_toml(path), source=str(path))
    for suite, tasks in by_suite((*grid.tasks, *(task for row in grid.students for task in row.tasks or ()))).items():
        if suite not in suites():
            raise UnknownName("suite", suite, suites())
        for task in tasks:
            catalog.entry("tasks", task)
    for upstream in grid.upstreams:
        if not upstream.startswith("hf:"):
            catalog.entry("upstreams", upstream)
    jobs = [_job(grid, row, seed, path.parent) for row in grid.students for seed in row.seeds or grid.seeds]
    rounds = {seed: number for number, seed in enumerate(dict.fromkeys(job.seed for job in jobs))}
    return grid, sorted(jobs, key=lambda job: rounds[job.seed])


def by_suite(tasks: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """``SUITE/TASK`` each, as the tasks of each suite; each once."""
    found: dict[str, list[str]] = {}
    for suite, _, task in (one.partition("/") for one in dict.fromkeys(tasks)):
        found.setdefault(suite, []).append(task)
    return {suite: tuple(own) for suite, own in found.items()}


def choose(jobs: Sequence[Job], rows: Sequence[str]) -> list[Job]:
    """The jobs of these rows; all if none is named.

    Raises:
        UnknownName: no such row.
    """
    known = list(dict.fromkeys(job.row.name for job in jobs))
    for row in rows:
        if row not in known:
            raise UnknownName("student", row, known)
    return [job for job in jobs if not rows or job.row.name in rows]


def _job(grid: Grid, row: StudentRow, seed: int, folder: Path) -> Job:
    tasks = grid.tasks if row.tasks is None else row.tasks
    if row.checkpoint is not None:
        checkpoint = folder / row.checkpoint.replace(SEED, str(seed))
        return Job(row=row, seed=seed, tasks=tasks, recipe=None, checkpoint=checkpoint)
    assert row.recipe is not None
    name = str(folder / row.recipe) if row.recipe.endswith(".toml") else row.recipe
    try:
        # A recipe without a stage (joint = false) stays without it.
        plain = load_recipe(name)
        common = {key: value for key, value in grid.changes.items() if getattr(plain, key, None) is not False}
        lines = [*_lines(common, seed), *_lines(row.changes, seed), f"seed={seed}"]
        recipe = load_recipe(name, changes=lines, scale_updates=grid.scale_updates)
    except SpecError as error:
        raise SpecError(f"student {row.name!r}: {error}") from error
    return Job(row=row, seed=seed, tasks=tasks, recipe=recipe, checkpoint=None)


def _lines(changes: Mapping[str, Any], seed: int, prefix: str = "") -> Iterator[str]:
    """``table.key=value`` for every leaf; JSON's numbers, strings, booleans and lists are TOML's too.

    A table's ``method`` comes first: it replaces the table, with what was said before.
    """
    for key, value in sorted(changes.items(), key=lambda item: item[0] != "method"):
        if isinstance(value, Mapping):
            yield from _lines(value, seed, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}={json.dumps(seed if value == SEED else value)}"
