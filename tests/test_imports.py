"""What must load without torch: everything before a command does its work. Nobody waits for `--help`."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "torchaudio", "s3prl", "transformers", "lightning", "pandas")


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
        ("skill_bench.report.table.score", ()),
        ("skill_bench.report.table.load", ("pandas",)),
    ],
)
def test_loads_without(module: str, allowed: tuple[str, ...]) -> None:
    code = f"import sys, {module}; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) <= set(allowed)
