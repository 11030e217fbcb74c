"""Recipes: specifications that come with the package by name, extend one another and are changed key by key."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from skill_bench.base import specs
from skill_bench.base.errors import SpecError, UnknownName, UsageError
from skill_bench.base.specs import Frozen


class Named(Frozen):
    """Base of a recipe: called as its file is."""

    name: str


Recipe = TypeVar("Recipe", bound=Named)


def names(folder: Path) -> list[str]:
    """The recipes of a folder."""
    return sorted(path.stem for path in folder.glob("*.toml"))


def load(
    model: type[Recipe], name_or_file: str, *, folder: Path, changes: Iterable[str] = (), scale_updates: float = 1.0
) -> Recipe:
    """A recipe by name, or from a TOML file.

    Args:
        name_or_file: a name in ``folder``, or a path that ends in ``.toml``. A file may begin with
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
    content, source = _read(name_or_file, folder=folder, base=Path(), seen=())
    changes = list(changes)
    for change in changes:
        content = _merged(content, _change(change))
    if scale_updates != 1.0:
        content = _scaled(content, scale_updates)
    source += "".join(f", --set {change}" for change in changes)
    return specs.validate(model, {**content, "name": Path(name_or_file).stem}, source=source)


def _read(name_or_file: str, *, folder: Path, base: Path, seen: tuple[Path, ...]) -> tuple[dict[str, Any], str]:
    path = base / name_or_file if name_or_file.endswith(".toml") else folder / f"{name_or_file}.toml"
    if not name_or_file.endswith(".toml") and name_or_file not in names(folder):
        raise UnknownName("recipe", name_or_file, names(folder))
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
    parent, _ = _read(extended, folder=folder, base=path.parent, seen=(*seen, path.resolve()))
    return _merged(parent, content), str(path)


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            other = "method" in value and value["method"] != old.get("method")
            merged[key] = dict(value) if other else _merged(old, value)
        else:
            merged[key] = value
    return merged


def _change(text: str) -> dict[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key.strip() or not value.strip():
        raise UsageError(f"--set {text!r}: expected table.key=value, for example data.max_seconds=6.")
    try:
        parsed: Any = tomllib.loads(f"value = {value}")["value"]
    except (ValueError, RecursionError):  # no TOML; an integer of thousands of digits; endless nesting
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
