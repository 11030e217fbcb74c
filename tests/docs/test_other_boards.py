"""The page on other programs and boards: its commands are run, its Python too where nothing has to be downloaded."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from skill_bench.cli.main import app
from skill_bench.models import checkpoint
from skill_bench.models.export import FORMATS

TEXT = (Path(__file__).parents[2] / "docs" / "how-to" / "other_boards.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which all commands of the page have been run."""
    root = tmp_path_factory.mktemp("page")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        commands = [shlex.split(line) for text in blocks("bash") for line in text.replace("\\\n", "").splitlines()]
        assert len(commands) == 5
        for command in commands:
            assert command[0] == "skill-bench"
            done = CliRunner().invoke(app, command[1:])
            assert done.exception is None, f"{shlex.join(command)}: {done.output}"
    return root


def test_every_format_has_a_row_and_a_command(place: Path) -> None:
    rows = re.findall(r"^\| `(\w+)` \| ", TEXT, re.MULTILINE)
    assert set(rows) == set(FORMATS) == set(re.findall(r"--format (\w+)", TEXT))
    written = [checkpoint.load(place / name) for name in ("skill.safetensors", "skill.pth", "skill-hub")]
    waves = torch.randn(1, 4000)
    first, *others = [loaded.encoder(waves)[0] for loaded in written]
    for states in others:
        assert all(torch.equal(a, b) for a, b in zip(first, states, strict=True))


def test_the_hub_folder_loads_as_the_page_says(place: Path) -> None:
    code = "import torch\nwaves = torch.randn(2, 4000)\n" + blocks("python")[0] + "print(len(states), type(model))\n"
    done = subprocess.run([sys.executable, "-c", code], cwd=place, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.match(r"13 .*modeling_skill_bench\.SkillBenchModel", done.stdout)


def test_the_encoder_of_the_page_is_one() -> None:
    names: dict[str, type] = {}
    exec(blocks("python")[1], names)
    (encoder,) = (value for key, value in names.items() if key.endswith("Encoder"))
    assert encoder()(torch.randn(1, 16000)).shape == (1, 49, 144)


@pytest.mark.parametrize("board", ["mteb"], indirect=True)
def test_the_benchmark_of_the_page_exists(board: Any) -> None:
    lines = blocks("python")[2].splitlines()
    (named,) = re.findall(r'get_benchmark\("(.*?)"\)', lines[-1])
    assert board.get_benchmark(named).tasks
    names: dict[str, object] = {}
    exec("\n".join(lines[:-1]), names)
    assert "model" in names
