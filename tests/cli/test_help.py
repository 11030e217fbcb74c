"""``--help``: every command in a group, in whole sentences, within 80 columns."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from typer.main import get_command

from skill_bench.cli.main import app

GROUPS = ["Options", "Evaluate", "Tables", "Models", "This machine"]


def leaves(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    yield name, command
    for sub, one in getattr(command, "commands", {}).items():
        yield from leaves(f"{name} {sub}", one)


EVERY = dict(leaves("skill-bench", get_command(app)))


def test_commands_stand_in_groups(command: Callable[..., Any]) -> None:
    text = command("--help").out
    assert re.findall(r"^(\w[\w ]*):$", text, re.MULTILINE) == GROUPS
    listed = re.findall(r"^  ([a-z]+)  ", text, re.MULTILINE)
    assert sorted(listed) == sorted(get_command(app).commands)  # type: ignore[attr-defined]
    assert "..." not in text.replace("[ARGS]...", "")
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("name", EVERY)
def test_help_is_in_whole_sentences(name: str) -> None:
    said = [EVERY[name].help, *(p.help for p in EVERY[name].params if getattr(p, "help", None))]
    faulty = [text for text in said if not text or not re.fullmatch(r"\S.*[.\])]", " ".join(text.split()))]
    assert faulty == []
