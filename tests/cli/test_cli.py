"""What every command has in common: where it may write and compute, what it says of files, how training is shown."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from skill_bench.cli import main
from skill_bench.cli.console import ConsoleProgress
from skill_bench.corpora.load import tasks_of


@pytest.mark.parametrize("name", ["similarity", "distill", "pretrain"])
def test_an_output_that_cannot_be_written_is_found_before_the_work(
    name: str, tmp_path: Path, command: Callable[..., Any]
) -> None:
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" / ("x.json" if name == "similarity" else "x.safetensors")
    (tmp_path / "not-read-yet.pt").write_text("")
    teacher = ["--teacher", tmp_path / "not-read-yet.pt"] if name != "pretrain" else []
    ended = command(name, *teacher, "--data", tmp_path, "--out", out)
    assert ended.code == 2
    assert f"{tmp_path / 'file'} is no folder that can be written to" in ended.err


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("gpu", "--device 'gpu': expected cpu, cuda or cuda:1."),
        ("cuda:3", "--device cuda:3: torch can use 2 GPUs here."),
    ],
)
def test_a_device_that_is_not_there_is_said(
    device: str, message: str, monkeypatch: pytest.MonkeyPatch, command: Callable[..., Any]
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    ended = command("profile", "--upstream", "skill", "--device", device)
    assert ended.code == 2
    assert message in ended.err


def test_what_the_system_says_of_a_file_is_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Callable[..., Any]
) -> None:
    def fails() -> None:
        (tmp_path / "gone" / "x").read_text()

    monkeypatch.setattr(main, "app", fails)
    ended = command()
    assert ended.code == 1
    assert f"error: {tmp_path / 'gone' / 'x'}: No such file or directory. Check the path" in ended.err


def test_a_suite_of_your_own_is_run_on_the_tasks_it_describes(tmp_path: Path) -> None:
    source = 'manifest = "m.tsv"\ntarget = "word"\nsplit = { column = "s", train = ["a"], dev = ["b"], test = ["c"] }\n'
    (tmp_path / "suite.toml").write_text(f"[tasks.sid]\n{source}[tasks.ks]\n{source}")
    assert tasks_of("local", data_root=tmp_path) == ["ks", "sid"]
    assert len(tasks_of("demo", data_root=None)) == len(tasks_of("superb", data_root=tmp_path)) == 10


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> tuple[ConsoleProgress, io.StringIO, Callable[[float], None]]:
    """A training's progress in a file, what was written there, and a clock to set."""
    now = [1000.0]
    monkeypatch.setattr("skill_bench.cli.console.time.monotonic", lambda: now[0])
    written = io.StringIO()
    progress = ConsoleProgress(Console(file=written, width=200))
    return progress, written, lambda seconds: now.__setitem__(0, 1000.0 + seconds)


def test_time_to_go_is_that_of_the_updates_made_here(shown: Any) -> None:
    """Continued at 40 of 100, after a minute of preparation: two seconds an update."""
    progress, written, at = shown
    for update, seconds in ((41, 60), (42, 62), (61, 100)):
        at(seconds)
        progress.update("distill skill, joint", update, 100, {"loss": 0.5, "cosine": 0.25, "update": update - 1})
    lines = written.getvalue().splitlines()
    assert lines[0] == "distill skill, joint: continues after update 40 of 100"
    assert lines[1].startswith("distill skill, joint 41/100 loss=0.5")
    assert lines[2] == "distill skill, joint 61/100 loss=0.5 ETA 78 s"
    at(200)
    progress.update("distill skill, final", 1, 10, {"loss": 0.25})
    assert written.getvalue().splitlines()[-1] == "distill skill, final 1/10 loss=0.25"
