"""A recipe's values beside what the published program set: which differences no file declares."""

from __future__ import annotations

from typing import Any

from skill_bench.distillation.originals import Original
from skill_bench.distillation.recipe import Recipe

NOT_SETTINGS = ("name", "title", "source")


def undeclared(original: Original, recipe: Recipe) -> list[str]:
    """Every difference that the file does not declare, in words; empty where all is declared."""
    found = leaves(recipe)
    said = []
    for setting in original.settings:
        here = found.pop(setting.key, None)
        expected = setting.value if setting.ours is None else setting.ours
        if here != expected:
            said.append(f"{setting.key} = {here!r}, where {expected!r} is stated")
        if (setting.ours is None) == bool(setting.why):
            said.append(f"{setting.key}: a value of ours needs a reason, and a reason a value of ours")
        if setting.ours is not None and setting.ours == setting.value:
            said.append(f"{setting.key}: ours is the original's {setting.value!r}")
    said += [f"{key}: neither a setting of the original nor ours alone" for key in found if key not in original.ours]
    return said + [f"{key}: ours alone, but the recipe has no such key" for key in original.ours if key not in found]


def leaves(recipe: Recipe) -> dict[str, Any]:
    """Values of a recipe by ``table.key``; tuples as lists."""
    found: dict[str, Any] = {}
    for key, value in recipe.model_dump(mode="json").items():
        if isinstance(value, dict):
            found |= {f"{key}.{name}": inner for name, inner in value.items()}
        elif key not in NOT_SETTINGS:
            found[key] = value
    return found
