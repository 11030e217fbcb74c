"""What the published programs set, beside what the recipes say: ``recipes/originals/NAME.toml``, as a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from skill_bench.base import specs
from skill_bench.base.specs import Frozen
from skill_bench.distillation.recipe import load_recipe

_FOLDER = Path(__file__).resolve().parent / "recipes" / "originals"


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
    changed = "`skill_whitened`, `uniform_groups` and `random_groups` change its groups alone"
    lines += [f"All else is as in the recipe `dphubert`; {changed}."]
    guide = "how-to/distilling.md#which-layers-make-a-target-and-how"
    lines += [f"What else a target can be, off in all of these: [options]({guide})."]
    return "\n".join(lines) + "\n"


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)
