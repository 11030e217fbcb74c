"""The command line in this process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from skill_bench.cli import main


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a command ended and what it wrote."""

    code: int
    out: str
    err: str


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """``command("run", "--upstream", "skill")``, as a shell starts it."""

    def run(*arguments: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["skill-bench", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main.main()
        written = capsys.readouterr()
        return Ended(code=int(ended.value.code or 0), out=written.out, err=written.err)

    return run
