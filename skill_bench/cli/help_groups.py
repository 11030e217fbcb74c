"""``skill-bench --help``: commands in groups, as plain text, each with its whole first sentence."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup


class InGroups(TyperGroup):
    """Lists commands below the ``rich_help_panel`` that each was registered with."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        width = max(map(len, self.commands))
        for name, command in self.commands.items():
            title = getattr(command, "rich_help_panel", None)
            groups.setdefault(title if isinstance(title, str) else "Commands", []).append(
                (name.ljust(width), _first_sentence(command))
            )
        for title, lines in groups.items():
            with formatter.section(title):
                formatter.write_dl(lines)


def _first_sentence(command: Any) -> str:
    """Whole, where click would cut it."""
    return " ".join((command.help or "").split("\n\n")[0].split())


def commands(help: str) -> typer.Typer:
    """Commands below one name, to which others are added."""
    return typer.Typer(help=help, no_args_is_help=True, rich_markup_mode=None, cls=InGroups)
