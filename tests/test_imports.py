"""What must load without torch: everything before a command does its work. Nobody waits for `--help`.

`import skill_bench` loads nothing; tables, comparisons and the page load no torch.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import skill_bench

HEAVY = ("torch", "torchaudio", "s3prl", "transformers", "lightning", "pandas")
SLOW = ("torch", "torchaudio", "s3prl", "transformers", "lightning", "pandas", "numpy", "pydantic", "rich", "typer")
LIGHT = ("pandas", "numpy", "pydantic")
TABLES = "r = skill_bench.load_results(suite='demo'); r.frame, r.table, r.predictions, "


@pytest.mark.parametrize(
    ("module", "allowed"),
    [
        ("skill_bench.base.errors", ()),
        ("skill_bench.base.catalog", ()),
        ("skill_bench.base.provenance", ()),
        ("skill_bench.records.record", ()),
        ("skill_bench.records.profile", ()),
        ("skill_bench.cli.main", ()),
        ("skill_bench.report", ()),
        ("skill_bench.report.table.published", ()),
        ("skill_bench.report.table.quantities", ()),
        ("skill_bench.report.table.load", ("pandas",)),
    ],
)
def test_loads_without(module: str, allowed: tuple[str, ...]) -> None:
    code = f"import sys, {module}; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) <= set(allowed)


@pytest.mark.parametrize(
    ("code", "allowed"),
    [
        ("dir(skill_bench)", ()),
        ("skill_bench.SkillBenchError", ()),
        (f"{TABLES} str(r)", LIGHT),
        ("skill_bench.compare('skill', 'dphubert', suite='demo').frame", LIGHT),
        ("from skill_bench.report.render import page, render, terminal", (*LIGHT, "rich")),
    ],
)
def test_a_program_loads_without(code: str, allowed: tuple[str, ...]) -> None:
    program = f"import sys, skill_bench; {code}; print(*[name for name in {SLOW!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) <= set(allowed)


def test_no_child_looks_for_modules_in_the_current_folder() -> None:
    """Python's option -P, wherever a Python is started."""
    sources = {path: path.read_text(encoding="utf-8") for path in Path(skill_bench.__file__).parent.rglob("*.py")}
    started = {path: text.count("sys.executable") for path, text in sources.items() if "sys.executable" in text}
    assert len(started) >= 3
    for path, n in started.items():
        assert len(re.findall(r"sys\.executable(, \"-P\"|\)\} -P)", sources[path])) == n, path


def test_type_checkers_are_told_the_same_names() -> None:
    stub = ast.parse((Path(skill_bench.__file__).with_suffix(".pyi")).read_text())
    told = {(alias.name, node.module) for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert told == set(skill_bench._PLACES.items())  # type: ignore[attr-defined]
    assert set(skill_bench.__all__) <= set(dir(skill_bench))
    for name, place in skill_bench._PLACES.items():  # type: ignore[attr-defined]
        assert getattr(skill_bench, name).__module__ == place


def test_another_name_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'evalute'\. It has: evaluate, distill"):
        skill_bench.evalute  # type: ignore[attr-defined]  # noqa: B018
