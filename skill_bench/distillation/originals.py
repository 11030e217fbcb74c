"""What the published programs set, beside what the recipes say: ``recipes/originals/NAME.toml``, as a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from skill_bench.base import specs
from skill_bench.base.specs import Frozen
from skill_bench.distillation.recipe import Recipe, load_recipe

_FOLDER = Path(__file__).resolve().parent / "recipes" / "originals"
_NOT_SETTINGS = ("name", "title", "source")


class Setting(Frozen):
    """One value of the original, and the recipe's key for it. ``ours``: the recipe's value where it differs."""

    key: str
    value: Any
    ours: Any = None
    why: str = ""


class Original(Frozen):
    """A published program's settings by file and name; ``ours``: the recipe's keys that it has no setting for."""

    title: str
    repository: str
    commit: str
    recipe: str
    files: dict[str, dict[str, Setting]]
    ours: dict[str, str]

    @property
    def settings(self) -> list[Setting]:
        return [setting for file in self.files.values() for setting in file.values()]


def names() -> list[str]:
    """The originals that recipes are compared with."""
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


def load(name: str) -> Original:
    """The settings of one original.

    Raises:
        SpecError: the file is not valid.
    """
    path = _FOLDER / f"{name}.toml"
    return specs.validate(Original, specs.read_toml(path), source=str(path))


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
        elif key not in _NOT_SETTINGS:
            found[key] = value
    return found


def markdown() -> str:
    """The page that compares every recipe with its original."""
    lines = ["# Recipes beside their originals", "", "Made by `python docs/protocol_tables.py`.", ""]
    for name in names():
        original = load(name)
        lines += [f"## {original.title}", "", f"{original.repository} at commit {original.commit[:7]}.", ""]
        lines += ["| original | file | value | recipe | ours | why |", "|---|---|---|---|---|---|"]
        for file, settings in original.files.items():
            for label, setting in settings.items():
                ours = "the same" if setting.ours is None else f"`{_text(setting.ours)}`"
                value = _text(setting.value)
                lines.append(f"| {label} | {file} | `{value}` | {setting.key} | {ours} | {setting.why} |")
        lines += [f"| | | | {key} | ours alone | {why} |" for key, why in original.ours.items()]
        lines.append("")
    lines += ["## SKILL", "", load_recipe("skill").source, ""]
    lines += ["All else is as in the recipe `dphubert`; `uniform_groups` and `random_groups` change its groups alone."]
    guide = "how-to/distilling.md#which-layers-make-a-target-and-how"
    lines += [f"What else a target can be, off in all of these: [options]({guide})."]
    return "\n".join(lines) + "\n"


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)
