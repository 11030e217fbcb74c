"""Child processes find s3prl as their parent made it, and are left alone where they have nothing to do with it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import skill_bench.s3prl  # noqa: F401  (what is tested: its effect on children)


def child(code: str, *, path: tuple[str, ...] = ()) -> list[str]:
    """What a child prints that runs ``code``; ``path`` is what else its PYTHONPATH holds."""
    inherited = os.environ["PYTHONPATH"].split(os.pathsep)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([*inherited, *path, *sys.path])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("first", ["s3prl.util.audio_info", "torchaudio", "skill_bench.s3prl", "s3prl.hub"])
def test_a_child_finds_what_s3prl_needs(first: str) -> None:
    code = f"import {first}, torchaudio, huggingface_hub; torchaudio.set_audio_backend('sox_io')"
    assert "done" in child(f"{code}; huggingface_hub.HfFolder; print('done')")


def test_a_child_without_s3prl_imports_nothing_of_ours() -> None:
    code = "import sys, json; print([name for name in sys.modules if name.split('.')[0] in ('skill_bench', 'torch')])"
    assert child(code) == ["[]"]


def test_a_sitecustomize_of_the_user_still_runs(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("print('customised')")
    assert child("print('done')", path=(str(tmp_path),)) == ["customised", "done"]
