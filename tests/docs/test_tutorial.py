"""The tutorial's commands, taken out of its text and run in order."""

from __future__ import annotations

import re
import shlex
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from skill_bench.base import catalog
from skill_bench.cli.main import app
from skill_bench.upstream.contract import CHECKS

TEXT = (Path(__file__).parents[2] / "docs" / "tutorial.md").read_text()
TABS = ("Hugging Face folder", "DPHuBERT file", "Torch module")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Block:
    """A fenced block: the tab it stands in (None outside of tabs), its language, its text."""

    tab: str | None
    language: str
    text: str


def blocks() -> list[Block]:
    found = []
    parts = re.split(r'^=== "(.*)"$', TEXT, flags=re.MULTILINE)
    for tab, part in zip([None, *parts[1::2]], parts[::2], strict=True):
        lines = part.splitlines(keepends=True)
        n_inside = 0
        if tab is not None:
            inside = [not line.strip() or line.startswith("    ") for line in lines]
            n_inside = inside.index(False) if False in inside else len(lines)
        for owner, text in (
            (tab, textwrap.dedent("".join(lines[:n_inside]))),
            (None, "".join(lines[n_inside:])),
        ):
            found += [Block(tab=owner, language=kind, text=body) for kind, body in FENCE.findall(text)]
    return found


def commands(tab: str | None) -> list[list[str]]:
    shells = [block.text for block in blocks() if block.tab == tab and block.language == "bash"]
    return [shlex.split(line) for text in shells for line in text.splitlines()]


def call(command: list[str]) -> str:
    assert command[0] == "skill-bench"
    result = CliRunner().invoke(app, command[1:])
    assert result.exception is None, f"{shlex.join(command)}: {result.exception}\n{result.output}"
    return result.output


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_demo: Callable[[Path], Path]) -> Path:
    """A working directory as a checkout is, with the bundled upstreams in it."""
    (tmp_path / "upstreams").mkdir()
    for name in ("teacher", "skill"):
        (tmp_path / "upstreams" / name).symlink_to(catalog.entry("upstreams", name))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(with_demo(tmp_path / "cache" / "skill-bench").parent))
    return tmp_path


def test_it_has_three_ways_and_one_road() -> None:
    assert tuple(dict.fromkeys(block.tab for block in blocks() if block.tab)) == TABS
    assert [" ".join(command[:3]) for command in commands(None)] == [
        "pip install .",
        "skill-bench upstream check",
        "skill-bench run --upstream",
        "skill-bench leaderboard --results",
        "skill-bench compare skill",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("tab", TABS[:2])
def test_a_checkpoint_becomes_an_upstream_that_keeps_the_contract(tab: str, checkout: Path) -> None:
    new, export = commands(tab)
    assert export[1] == "export"
    call(export)  # "None at hand?": what the reader has already
    call(new)
    assert (checkout / "upstreams" / "mine" / "mine.safetensors").is_file()
    said = call(commands(None)[1])
    n_parameters = {"Hugging Face folder": "3,257,512", "DPHuBERT file": "814,415"}[tab]
    assert said.startswith(f"My model: {n_parameters} parameters, 13 hidden states of width 144, a frame every 20 ms")
    assert said.count("  ok    ") == len(CHECKS)


@pytest.mark.slow
def test_a_torch_module_gets_a_row_in_the_table(checkout: Path) -> None:
    (new,) = commands("Torch module")
    call(new)
    _, check, run, leaderboard, compare = commands(None)
    checked = [block.text for block in blocks() if block.tab is None and not block.language]
    assert call(check) == checked[0], "the output that the tutorial shows"
    shown = call(run)
    assert re.search(r"^>  My model +\d+\.\d ± \d+\.\d ", shown, re.MULTILINE), shown
    assert max(map(len, shown.splitlines())) <= 80
    call(leaderboard)
    table = pd.read_csv(checkout / "site" / "table.csv")
    (row,) = table[table["title"] == "My model"].to_dict("records")
    assert row["source"] == "measured"
    assert 0 < row["ks_accuracy_percent_low"] < row["ks_accuracy_percent"] < row["ks_accuracy_percent_high"]
    assert len(table[table["section"] == row["section"]]) > 4, "beside the bundled systems"
    assert "My model" in (checkout / "site" / "index.html").read_text()
    said = call(compare)
    assert "My model" in said
    assert "ks" in said.lower()


def test_a_failing_check_reads_as_shown(checkout: Path) -> None:
    call(commands("Torch module")[0])
    (checkout / "upstreams" / "mine" / "hubconf.py").write_text("from .expert import UpstreamExpert\n")
    result = CliRunner().invoke(app, ["upstream", "check", "upstreams/mine"])
    shown = [block.text for block in blocks() if block.tab is None and not block.language][1]
    assert result.exit_code == 1
    assert shown in result.stdout, result.stdout
