"""What must load without torch: everything before a command does its work. Nobody waits for `--help`."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "torchaudio", "s3prl", "transformers", "lightning", "pandas")


@pytest.mark.parametrize(
    ("module", "allowed"),
    [
        ("skill_bench.errors", ()),
        ("skill_bench.catalog", ()),
        ("skill_bench.provenance", ()),
        ("skill_bench.record", ()),
        ("skill_bench.efficiency", ()),
        ("skill_bench.cli.main", ()),
        ("skill_bench.report", ()),
        ("skill_bench.report.published", ()),
        ("skill_bench.report.score", ()),
        ("skill_bench.report.show", ("pandas",)),
    ],
)
def test_loads_without(module: str, allowed: tuple[str, ...]) -> None:
    code = f"import sys, {module}; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) <= set(allowed)
