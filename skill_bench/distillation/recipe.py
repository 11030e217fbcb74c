"""A recipe: every number that decides what a student becomes, as data in ``recipes/NAME.toml`` or a file like it."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from skill_bench.base import specs
from skill_bench.base.errors import SpecError, UnknownName, UsageError
from skill_bench.base.specs import Count, Frozen, Positive, PositiveNumber, Weight
from skill_bench.layers.options import FixedGroups, RandomGroups, SimilarGroups, UniformGroups
from skill_bench.models.encoder import LayerZero
from skill_bench.models.in_training import InTraining
from skill_bench.pruning.options import Sparsity
from skill_bench.training.options import Data, Optimizer, Stage

_FOLDER = Path(__file__).resolve().parent / "recipes"

Share = Annotated[float, Field(ge=0, lt=1)]


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
    first group and another for the rest.
    """

    l1_weight: Weight
    cosine_weight: Weight
    cosine: Literal["plain", "log_sigmoid"]
    head: Literal["linear", "prediction"]
    heads: Literal["per_group", "shared", "first_alone"]

    def head_numbers(self, n_groups: int) -> list[int]:
        """Which head each group uses."""
        last = {"per_group": n_groups, "shared": 0, "first_alone": 1}[self.heads]
        return [min(index, last) for index in range(n_groups)]


class Recipe(Frozen):
    """From a teacher to a student. ``joint`` and ``sparsity`` are False where nothing is pruned."""

    name: str
    title: str
    source: str
    seed: Count
    groups: Annotated[SimilarGroups | FixedGroups | RandomGroups | UniformGroups, Field(discriminator="method")]
    student: StudentShape
    loss: Loss
    joint: Stage | Literal[False]
    final: Stage
    sparsity: Sparsity | Literal[False]
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
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


def load_recipe(name_or_file: str, *, changes: Iterable[str] = (), scale_updates: float = 1.0) -> Recipe:
    """A recipe by name, or from a TOML file.

    Args:
        name_or_file: a name in :func:`names`, or a path that ends in ``.toml``. A file may begin with
            ``extends = NAME_OR_FILE`` (relative to itself) and say only what differs. A table that names another
            ``method`` replaces the extended one as a whole.
        changes: ``table.key=value`` each, the value as in TOML (a bare word is a string); over what the file says.
        scale_updates: multiplies every number of updates, at least to 1: a shorter run of the same form.

    Raises:
        UnknownName: no recipe of that name.
        SpecError: the file or a change is not valid; names file, key and the nearest valid key.
        UsageError: ``scale_updates`` is not a positive number, or a change is no ``key=value``.
    """
    if not 0 < scale_updates < math.inf:
        raise UsageError(f"updates scaled by {scale_updates}: expected a number above 0, for example 0.01.")
    content, source = _read(name_or_file, base=Path(), seen=())
    changes = list(changes)
    for change in changes:
        content = _merged(content, _change(change))
    if scale_updates != 1.0:
        content = _scaled(content, scale_updates)
    source += "".join(f", --set {change}" for change in changes)
    return specs.validate(Recipe, {**content, "name": Path(name_or_file).stem}, source=source)


def _read(name_or_file: str, *, base: Path, seen: tuple[Path, ...]) -> tuple[dict[str, Any], str]:
    path = base / name_or_file if name_or_file.endswith(".toml") else _FOLDER / f"{name_or_file}.toml"
    if not name_or_file.endswith(".toml") and name_or_file not in names():
        raise UnknownName("recipe", name_or_file, names())
    if path.resolve() in seen:
        raise SpecError(f"{path}: extends itself. Remove 'extends' from one of {', '.join(map(str, seen))}.")
    content = specs.read_toml(path)
    if "name" in content:
        raise SpecError(f"{path}: key 'name': a recipe is called as its file is. Remove the key.")
    extended = content.pop("extends", None)
    if extended is None:
        return content, str(path)
    if not isinstance(extended, str):
        raise SpecError(f"{path}: key 'extends': expected a recipe's name or file (found {extended!r}).")
    parent, _ = _read(extended, base=path.parent, seen=(*seen, path.resolve()))
    return _merged(parent, content), str(path)


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            other = "method" in value and value["method"] != old.get("method")
            merged[key] = dict(value) if other else {**old, **value}
        else:
            merged[key] = value
    return merged


def _change(text: str) -> dict[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key.strip() or not value.strip():
        raise UsageError(f"--set {text!r}: expected table.key=value, for example joint.n_updates=1000.")
    try:
        parsed: Any = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value.strip()
    for part in reversed(key.strip().split(".")):
        parsed = {part: parsed}
    return dict(parsed)


def _scaled(content: Mapping[str, Any], factor: float) -> dict[str, Any]:
    def scaled(key: str, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: scaled(name, inner) for name, inner in value.items()}
        is_count = isinstance(value, int) and not isinstance(value, bool)
        return max(1, round(value * factor)) if key.endswith("_updates") and is_count and value else value

    return {key: scaled(key, value) for key, value in content.items()}
