"""What the documentation of the guard tells people to type exists."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer
import yaml

from skill_bench.cli.main import app

DOCS = Path(__file__).parents[2] / "docs"
COMMANDS = re.findall(r"^(?: *run: )?(skill-bench check .*)$", (DOCS / "guard.md").read_text(), re.MULTILINE)


def workflow_commands() -> list[str]:
    workflow = yaml.safe_load((DOCS / "examples" / "skill-bench-check.yml").read_text())
    steps = workflow["jobs"]["check"]["steps"]
    return [step["run"] for step in steps if step.get("run", "").startswith("skill-bench")]


def test_there_are_commands() -> None:
    assert len(COMMANDS) == 3
    assert len(workflow_commands()) == 1


@pytest.mark.parametrize("command", [*COMMANDS, *workflow_commands()])
def test_every_option_exists(command: str) -> None:
    known = {option for parameter in typer.main.get_command(app).commands["check"].params for option in parameter.opts}  # type: ignore[attr-defined]
    used = {word for word in shlex.split(command) if word.startswith("--")}
    assert used
    assert used <= known
