"""The list of mutants fits the code, and its runner tells killed, surviving and stale ones apart."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import mutants
import pytest
from mutants import Mutant

ALL = mutants.read()


@pytest.mark.parametrize("mutant", ALL, ids=[f"{number} {one.file}" for number, one in enumerate(ALL)])
def test_every_mutant_fits_the_code_and_names_tests_that_are_there(mutant: Mutant) -> None:
    ast.parse(mutants.mutated(mutant))
    assert mutant.tests
    for node in mutant.tests:
        file, _, name = node.partition("::")
        assert not name or f"def {name.partition('[')[0]}(" in (mutants.REPOSITORY / file).read_text(), node


def test_no_mutant_is_listed_twice() -> None:
    assert max(Counter((one.file, one.becomes, one.text) for one in ALL).values()) == 1


TEST = "from skill_bench.area import area\n\n\ndef test_area():\n    assert area(1, 5) == 5\n"
CODE = "def area(a, b):\n    return a * b\n"
# What is changed of a mutant that is killed, and how the first problem begins.
ENDS: list[tuple[dict[str, object], str]] = [
    ({}, ""),
    ({"becomes": "b"}, "survived: area.py: 'a * b' became 'b'"),
    ({"becomes": "a *"}, "tests ended with 2: area.py: 'a * b' became 'a *'"),
    ({"text": "a / b"}, "stale: area.py: expected once, found 0 times: 'a / b'"),
    ({"text": "a"}, "stale: area.py: expected once, found 4 times: 'a'"),
    ({"file": "gone.py"}, "stale: gone.py: no such file"),
    ({"becomes": "a * b"}, "stale: area.py: the text and what it becomes are the same"),
    ({"tests": ("tests/test_gone.py",)}, "without a mutant pytest ended with 4"),
]
SCRIPT = """
import json, pathlib, sys
sys.path.insert(0, sys.argv[1])
import mutants
mutant = {"file": "area.py", "text": "a * b", "becomes": "a + b", "breaks": "areas", "tests": ("tests/test_area.py",)}
for changes in json.loads(sys.argv[2]):
    found = mutants.check([mutants.Mutant(**(mutant | changes))], repository=pathlib.Path(sys.argv[3]))
    print("FOUND", json.dumps(found), flush=True)
"""


def test_how_mutants_end(tmp_path: Path) -> None:
    """In a process that has not loaded the package: a repository of one function and one test."""
    (tmp_path / mutants.PACKAGE).mkdir()
    (tmp_path / mutants.PACKAGE / "__init__.py").touch()
    code = tmp_path / mutants.PACKAGE / "area.py"
    code.write_text(CODE)
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\n")
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_area.py").write_text(TEST)
    changes = json.dumps([change for change, _ in ENDS])
    support = str(Path(mutants.__file__).parent)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, support, changes, str(tmp_path)],
        env=os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    lines = [line for line in done.stdout.splitlines() if line.startswith("FOUND")]
    for line, (_, problem) in zip(lines, ENDS, strict=True):
        found = json.loads(line.removeprefix("FOUND"))
        assert len(found) == bool(problem)
        assert "".join(found).startswith(problem)
    assert code.read_text() == CODE
