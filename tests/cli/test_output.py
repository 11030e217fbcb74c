"""Where output goes: nowhere, to nobody, to terminals without arrows."""

from __future__ import annotations

import errno
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from skill_bench.base.errors import explained
from skill_bench.cli import main

UNKNOWN_PLACE = "the system does not say where. Check the space where output and files go, and this user's limits."


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
