"""The original s3prl, ESPnet's fork, neither or both: what is asked for, and what is said."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tomllib
import warnings
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

import skill_bench
from skill_bench.base import provenance
from skill_bench.base.errors import MissingExtra
from skill_bench.s3prl import distribution

ROOT = Path(__file__).parents[2]


@pytest.fixture
def present(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The distributions that are there, by version; empty at first."""
    found: dict[str, str] = {}

    def version(name: str) -> str:
        if name not in found:
            raise PackageNotFoundError(name)
        return found[name]

    monkeypatch.setattr(distribution, "version", version)
    return found


def test_neither(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra) as caught:
        distribution.require(purpose="skill_bench.s3prl")
    assert str(caught.value) == (
        "skill_bench.s3prl needs s3prl, which is not installed. Run in a checkout of skill-bench: "
        "pip install '.[s3prl-train]', or pip install '.[espnet-s3prl]'"
    )


def test_both(present: dict[str, str]) -> None:
    present |= {"s3prl": "0.4.18", "espnet-s3prl": "2026.5.14"}
    with pytest.warns(
        UserWarning, match="s3prl 0.4.18 and espnet-s3prl 2026.5.14 are both installed, into one folder"
    ) as said:
        distribution.require(purpose="x")
    assert "pip uninstall s3prl espnet-s3prl, then install the one you want" in str(said[0].message)


@pytest.mark.parametrize("name", [(), ("s3prl",), ("espnet-s3prl",)])
def test_one_is_enough(name: tuple[str, ...], present: dict[str, str]) -> None:
    """Or none, where a checkout is on the path."""
    present |= dict.fromkeys(name, "1")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        distribution.require(purpose="x")


def test_what_tasks_need_does_not_bring_the_other_s3prl(present: dict[str, str]) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert distribution.extra() == "s3prl-train"
    present |= {"espnet-s3prl": "2026.5.14"}
    assert distribution.extra() == "espnet-s3prl"
    assert not any(need.startswith("s3prl") for need in extras["espnet-s3prl"] + extras["s3prl-tasks"])


def test_the_core_needs_neither() -> None:
    """Which could not be taken back by whoever has the other one."""
    needs = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert not any("s3prl" in need for need in needs)
    code = (
        "import sys; sys.modules['s3prl'] = None\n"
        "from skill_bench.cli.main import app\n"
        "from skill_bench.upstream.load import load_upstream\n"
        "print(load_upstream('skill').name)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(Path(skill_bench.__file__).parents[1])},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "skill\n"), done.stderr


def test_records_say_which_it_was() -> None:
    assert {"s3prl", "espnet-s3prl"} <= set(provenance.PACKAGES)
    assert {name for name in provenance.collect().packages if "s3prl" in name} == set(distribution.installed())
