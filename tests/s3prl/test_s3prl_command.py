"""``python -m skill_bench.s3prl``: a user's run on real speech, from training to resuming, and its errors."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import layouts
import pytest
import torch


def command(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        [sys.executable, "-m", "skill_bench.s3prl", *arguments],
        capture_output=True, text=True, check=False, cwd=cwd, env=environment, timeout=300,
    )  # fmt: skip


@pytest.mark.slow
def test_keyword_spotting_trains_evaluates_and_resumes(corpora: Path, tmp_path: Path) -> None:
    config = layouts.speech_commands(corpora, tmp_path / "ks", steps=12, per_word=40)
    expdir = tmp_path / "exp"
    run = ("run_downstream", "--device", "cpu")

    task = ("-u", "fbank", "-d", "speech_commands", "-c", str(config), "-p", str(expdir))
    trained = command(*run, "-m", "train", *task, cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr[-2000:]
    log = (expdir / "log.log").read_text()
    assert re.findall(r"^dev at step (\d+): [\d.]+$", log, re.MULTILINE) == ["6", "12"]
    assert (expdir / "dev-best.ckpt").is_file(), "dev accuracy was never above 0"

    evaluated = command(*run, "-m", "evaluate", "-e", str(expdir / "states-12.ckpt"), cwd=tmp_path)
    assert evaluated.returncode == 0, evaluated.stderr[-2000:]
    pairs = [_column(expdir / f"test_{kind}.txt") for kind in ("predict", "truth")]
    assert len(pairs[0]) == sum(1 for _ in (tmp_path / "ks" / "test").rglob("*.wav")) > 100
    correct = sum(predicted == true for predicted, true in zip(*pairs, strict=True))
    (accuracy,) = re.findall(r"test acc: ([\d.]+)", evaluated.stdout)
    assert float(accuracy) == pytest.approx(correct / len(pairs[0]), abs=1e-9)

    resumed = command(*run, "-m", "train", "-e", str(expdir), "-o", "config.runner.total_steps=18", cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr[-2000:]
    assert f"Resume from {expdir}/states-12.ckpt" in resumed.stdout
    assert "Loading Optimizer weights" in resumed.stdout
    added = (expdir / "log.log").read_text().removeprefix(log)
    assert set(re.findall(r"train at step (\d+)", added)) == {str(step) for step in range(13, 19)}
    states = torch.load(expdir / "states-18.ckpt", weights_only=True)
    assert states["Step"] == 18
    assert {state["step"].item() for state in states["Optimizer"]["state"].values()} == {18.0}


def test_unknown_command_lists_the_known_ones(tmp_path: Path) -> None:
    finished = command("run_downstraem", "-m", "train", cwd=tmp_path)
    assert finished.returncode == 2
    assert finished.stderr.splitlines()[-1] == (
        "error: unknown module of s3prl 'run_downstraem'. Did you mean 'run_downstream'? "
        "Known: main, run_downstream, run_pretrain."
    )


def test_missing_configuration_says_where_to_get_it(tmp_path: Path) -> None:
    finished = command("run_downstream", "-m", "train", "-u", "fbank", "-d", "emotion", "-p", "exp", cwd=tmp_path)
    assert finished.returncode == 2
    assert "s3prl's wheel holds no configurations: give one with -c" in finished.stderr
    assert "s3prl/downstream/emotion/config.yaml" in finished.stderr.splitlines()[-1]


def _column(path: Path) -> list[str]:
    return [line.split()[1] for line in path.read_text().splitlines()]
