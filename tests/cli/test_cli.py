"""What every command has in common: where it may write and compute, what it says of files, how training is shown.

``--help``: every command in a group, in whole sentences, within 80 columns.

Where output goes: nowhere, to nobody, to terminals without arrows.
"""

from __future__ import annotations

import errno
import io
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from typer.main import get_command

from skill_bench.base.errors import explained
from skill_bench.cli import main
from skill_bench.cli.console import ConsoleProgress
from skill_bench.cli.main import app
from skill_bench.corpora.load import tasks_of

GROUPS = ["Options", "Evaluate", "Tables", "Models", "This machine"]
LOADER = 'raise {kind}("libtorchaudio.so: undefined symbol")\n'
UNKNOWN_PLACE = "the system does not say where. Check the space where output and files go, and this user's limits."


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


@pytest.mark.parametrize("kind", ["OSError", "RuntimeError"])
def test_torchaudio_of_another_torch_is_said_in_words(tmp_path: Path, kind: str) -> None:
    extension = tmp_path / "torchaudio" / "_extension"
    extension.mkdir(parents=True)
    (tmp_path / "torchaudio" / "__init__.py").write_text("from torchaudio import _extension\n")
    (extension / "__init__.py").write_text(LOADER.format(kind=kind))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "skill_bench", "similarity", "--teacher", "teacher", "--data", str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert f"torch {version('torch')} and torchaudio {version('torchaudio')} do not load together" in done.stderr
    assert "undefined symbol" in done.stderr
    assert "pip install torch==2.11.0 torchaudio==2.11.0" in done.stderr


def test_other_errors_are_left_alone() -> None:
    with pytest.raises(OSError, match="nowhere") as raised:
        Path("/nowhere/at/all").read_text()
    assert main.explained_for_torch(raised.value) is None


def started(*arguments: str, out: Any, err: Any = subprocess.PIPE, **variables: str) -> tuple[int, str]:
    """Exit code and standard error."""
    command = [sys.executable, "-P", "-m", "skill_bench", *arguments]
    ended = subprocess.run(command, stdout=out, stderr=err, env=os.environ | variables, check=False)
    return ended.returncode, (ended.stderr or b"").decode()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a file of Linux")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_output_that_is_full_is_one_line_and_exit_code_1(unbuffered: str) -> None:
    with open("/dev/full", "wb") as full:
        code, err = started("list", out=full, PYTHONUNBUFFERED=unbuffered)
        assert (code, err) == (1, f"error: No space left on device; {UNKNOWN_PLACE}\n")
        assert started("list", out=full, err=full, PYTHONUNBUFFERED=unbuffered)[0] == 1


def test_who_no_longer_reads_gets_no_message() -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        assert started("list", out=write) == (1, "")
    finally:
        os.close(write)


@pytest.mark.parametrize(
    ("encoding", "heading"),
    [("latin-1", "ASR WER % ?"), ("ascii", "ASR WER % \u2193")],  # click takes ASCII for a mistake and writes UTF-8
)
def test_a_terminal_without_a_character_shows_another(encoding: str, heading: str, tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as out:
        code, err = started("compare", "skill", "dphubert", "--suite", "demo", out=out, PYTHONIOENCODING=encoding)
    assert (code, err) == (0, "")
    assert heading in (tmp_path / "out").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), f"No space left on device; {UNKNOWN_PLACE}"),
        (OSError("cannot say"), f"cannot say; {UNKNOWN_PLACE}"),
        (OSError(errno.EIO, "Input/output error", 3), f"Input/output error; {UNKNOWN_PLACE}"),
        (OSError(errno.ENOSPC, "No space left", ".a.tmp", None, "a"), "a: No space left. Check the path, its "),
        (OSError(errno.EROFS, "Read-only file system", b"\xff"), "\udcff: Read-only file system. Check the path"),
        (sqlite3.OperationalError("disk I/O error"), "a database of the cache cannot be used (disk I/O error). Check"),
        (UnicodeEncodeError("latin-1", "a\u2193b", 1, 2, "no"), r"'\u2193' cannot be written in latin-1. Set LC_ALL"),
        (
            UnicodeEncodeError("utf-8", "caf\udce9", 3, 4, "no"),
            r"'\udce9' cannot be written in utf-8. It stands for a byte in the name of a file or folder that is not",
        ),
        (MemoryError(), "not enough memory. Free some, or give shorter recordings or less at once."),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 9"), "not enough memory (DefaultCPUAllocator: ca"),
    ],
)
def test_what_the_system_refuses_is_named(
    error: Exception, message: str, command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = explained(error)
    assert said is not None
    assert said.startswith(message)

    def fails() -> None:
        raise error

    monkeypatch.setattr(main, "app", fails)
    ended = command()
    assert ended.code == 1
    assert ended.err == f"error: {said}\n".encode(errors="backslashreplace").decode(), "also a name that is no text"


def test_other_errors_are_faults_of_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> None:
        raise ValueError("a fault")

    monkeypatch.setattr(main, "app", fails)
    with pytest.raises(ValueError, match="a fault"):
        main.main()
