from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from skill_bench.cli import torch_pair

LOADER = 'raise {kind}("libtorchaudio.so: undefined symbol")\n'


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
    assert torch_pair.explain(raised.value) is None
