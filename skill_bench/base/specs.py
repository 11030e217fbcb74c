"""Specifications from TOML: a fault names the file, the key and the nearest valid key."""

from __future__ import annotations

import tomllib
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from skill_bench.base.errors import SpecError, suggest
from skill_bench.base.text import read_text

Model = TypeVar("Model", bound=BaseModel)

Positive = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]
PositiveNumber = Annotated[float, Field(gt=0)]
Weight = Annotated[float, Field(ge=0)]
Precision = Literal["fp32", "bf16", "fp16"]
"""What numbers are computed in."""


def _false(value: Any) -> Any:
    if value is not False:
        raise ValueError("expected false")
    return value


Off = Annotated[Literal[False], BeforeValidator(_false)]
"""``false`` where an option may be left out. pydantic takes 0 for it too, and a limit of 0 is not no limit."""


class Frozen(BaseModel):
    """Base of every spec and record: immutable fields, unknown keys refused, finite numbers only."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises:
        SpecError: missing, not UTF-8 or not TOML.
    """
    try:
        return tomllib.loads(read_text(path, error=SpecError).replace("\r\n", "\n").replace("\r", "\n"))
    except (ValueError, RecursionError) as error:  # no TOML; an integer of thousands of digits; endless nesting
        raise SpecError(f"{path}: cannot be read as TOML ({error}).") from error


def validate(model: type[Model], content: Mapping[str, Any], *, source: str) -> Model:
    """``content`` as a ``model``; ``source`` is where it comes from, for messages.

    Raises:
        SpecError: an unknown key (with the nearest known one), a missing key or a value that is not allowed.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        # A misspelt key is reported as unknown rather than as the missing key that it was meant to be.
        problem = min(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
        where = [str(part) for part in problem["loc"]]
        if problem["type"] == "extra_forbidden":
            keys, owner = _resolve(model, where[:-1])
            raise SpecError(unknown_key(source, [*keys, where[-1]], owner)) from error
        key = ".".join(_resolve(model, where)[0])
        found = "" if problem["type"] == "missing" or not key else f" (found {problem['input']!r})"
        raise SpecError(f"{source}: {f'key {key!r}: ' if key else ''}{problem['msg']}{found}.") from error


def unknown_key(source: str, where: Sequence[str], owner: type[BaseModel] | None) -> str:
    """The message for a key that ``owner``, the model at its place, does not have."""
    known = sorted(owner.model_fields) if owner else []
    return f"{source}: unknown key {'.'.join(where)!r}. {suggest(where[-1], known)}Known here: {', '.join(known)}."


def _resolve(model: type[BaseModel], where: list[str]) -> tuple[list[str], type[BaseModel] | None]:
    """The keys that the user wrote, and the model they lead to.

    pydantic also names the tried members of a union and the validators that ran.
    """
    keys: list[str] = []
    at: type[BaseModel] | None = model
    members: list[type[BaseModel]] = []
    named = False  # the next part is a name that the user gave a table
    for part in where:
        if named:
            keys.append(part)
            named = False
        elif at is not None and part in at.model_fields:
            keys.append(part)
            annotation = at.model_fields[part].annotation
            named = typing.get_origin(annotation) in (dict, Mapping)
            members = _models(annotation)
            at = members[0] if len(members) == 1 else None
        elif at is None and members:
            at = next((member for member in members if part in (member.__name__, *_tags(member))), None)
        elif part.isdecimal():
            keys.append(part)
    return keys, at


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for argument in typing.get_args(annotation) for found in _models(argument)]


def _tags(model: type[BaseModel]) -> list[str]:
    """Values of the model's literal fields: what tells the members of a union apart."""
    return [
        str(value)
        for field in model.model_fields.values()
        if typing.get_origin(field.annotation) is typing.Literal
        for value in typing.get_args(field.annotation)
    ]
