"""A recipe: every number that decides what a student becomes, as data in ``recipes/NAME.toml`` or a file like it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from skill_bench.base import recipes
from skill_bench.base.documents import write_atomic
from skill_bench.base.specs import Count, Frozen, Off, Positive, PositiveNumber, Weight
from skill_bench.layers.options import FixedGroups, RandomGroups, SimilarGroups, UniformGroups
from skill_bench.models.encoder import LayerZero
from skill_bench.models.in_training import InTraining
from skill_bench.pruning.options import Sparsity
from skill_bench.training.options import Data, Optimizer, Stage

_FOLDER = Path(__file__).resolve().parent / "recipes"

Share = Annotated[float, Field(ge=0, lt=1)]
Norm = Literal["layer", "instance"]
"""Of a hidden state: each frame over its dimensions, or each dimension over the frames of an utterance."""


class StudentShape(Frozen):
    """The first ``n_layers`` layers of the teacher, or all; and what it does in training only.

    ``dropout``: of the blocks' outputs and of the first layer's input. ``feature_grad_mult``: of the front end's
    gradients. ``projection_norm``: False leaves the norm before the projection out, where the teacher has one.
    """

    n_layers: Positive | Literal["all"]
    dropout: Share
    attention_dropout: Share = 0.0
    projection_dropout: Share = 0.0
    activation_dropout: Share = 0.0
    feature_grad_mult: PositiveNumber = 1.0
    projection_norm: bool = True

    @property
    def in_training(self) -> InTraining:
        return InTraining(
            residual=self.dropout,
            projection=self.projection_dropout,
            attention=self.attention_dropout,
            activation=self.activation_dropout,
            feature_grad_mult=self.feature_grad_mult,
        )


class Loss(Frozen):
    """``l1_weight`` times the mean L1 distance minus ``cosine_weight`` times the mean cosine, or its log sigmoid.

    ``head``: what maps the student's average to the teacher's. ``heads``: one a group, one for all, or one for the
    first group and another for the rest; or one a layer, so that each of the student's layers alone is mapped to the
    average of its group. ``norm``: of each hidden state before it is averaged.
    """

    l1_weight: Weight
    cosine_weight: Weight
    cosine: Literal["plain", "log_sigmoid"]
    head: Literal["linear", "prediction"]
    heads: Literal["per_group", "shared", "first_alone", "per_layer"]
    norm: Norm | Off = False

    def head_numbers(self, n_groups: int) -> list[int]:
        """Which head each group uses."""
        last = {"per_group": n_groups, "shared": 0, "first_alone": 1, "per_layer": n_groups}[self.heads]
        return [min(index, last) for index in range(n_groups)]


class Recipe(recipes.Named):
    """From a teacher to a student. ``joint`` and ``sparsity`` are False where nothing is pruned."""

    title: str
    source: str
    seed: Count
    groups: Annotated[SimilarGroups | FixedGroups | RandomGroups | UniformGroups, Field(discriminator="method")]
    student: StudentShape
    loss: Loss
    joint: Stage | Off
    final: Stage
    sparsity: Sparsity | Off
    optimizer: Optimizer
    data: Data

    @model_validator(mode="after")
    def _pruning_is_whole(self) -> Self:
        if (self.joint is False) != (self.sparsity is False):
            raise ValueError("joint and sparsity are both tables, or both false")
        return self

    @property
    def layer_zero(self) -> LayerZero:
        """What layer 0 means in its groups."""
        return self.groups.layer_zero if isinstance(self.groups, FixedGroups) else "first_layer_input"


def names() -> list[str]:
    """The recipes that come with the package."""
    return recipes.names(_FOLDER)


def load_recipe(name_or_file: str, *, changes: Iterable[str] = (), scale_updates: float = 1.0) -> Recipe:
    """A recipe by name, or from a TOML file; as :func:`skill_bench.base.recipes.load`, with its errors."""
    return recipes.load(Recipe, name_or_file, folder=_FOLDER, changes=changes, scale_updates=scale_updates)


def write_with_groups(path: Path, *, extends: str, n_groups: int, reason: str) -> Path:
    """Writes a recipe that is another one, by its name or file, with that many groups, and says why."""
    extended = os.path.relpath(extends, path.parent) if extends.endswith(".toml") else extends
    text = f'extends = "{extended}"\n\n[groups]\nn_groups = {n_groups}  # {reason}\n'
    return write_atomic(path, text.encode())
