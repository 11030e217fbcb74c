"""The command in real processes: killed, it continues bit for bit; two processes learn what one does."""

from __future__ import annotations

import csv
import os
import signal
import socket
import subprocess
import sys
import time
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import launched
import pytest
import safetensors.torch
import torch

from skill_bench.cli.main import app
from skill_bench.corpora.data import Utterance
from skill_bench.models import checkpoint
from skill_bench.models.checkpoint import LoadedModel

pytestmark = pytest.mark.slow
CHANGES = (
    "groups.n_groups=3", "groups.n_calibration_utterances=4", "data.seconds_per_batch=2.5", "data.min_seconds=0.1",
    "joint={n_updates=12, learning_rate=1e-3, warmup_updates=3}", "sparsity.target=0.5", "sparsity.ramp_updates=6",
    "sparsity.gate_learning_rate=0.1", "sparsity.multiplier_learning_rate=0.1",
    "final={n_updates=6, learning_rate=1e-3, warmup_updates=2}", "student.dropout=0.0",
    "student.projection_dropout=0.0", "student.attention_dropout=0.0", "sparsity.tolerance=false",
)  # fmt: skip


@pytest.fixture
def command(teacher: LoadedModel, speech: list[Utterance], tmp_path: Path) -> list[str]:
    path = tmp_path / "teacher.safetensors"
    checkpoint.save(teacher.encoder, path, metadata={})
    changes = [word for change in CHANGES for word in ("--set", change)]
    data = tmp_path / "speech"
    data.mkdir()
    for utterance in speech:
        utterance.path.rename(data / utterance.path.name)
    return ["distill", "--teacher", str(path), "--data", str(data), "--device", "cpu", *changes]


def losses(folder: Path, stage: str) -> list[dict[str, float]]:
    with (folder / f"{stage}.csv").open(newline="") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def test_killed_and_in_two_processes(command: list[str], tmp_path: Path) -> None:
    whole, parts = (tmp_path / f"{name}.safetensors" for name in ("whole", "parts"))
    app([*command, "--out", str(whole)], standalone_mode=False)

    # SIGKILL in the joint stage, between two checkpoints, then in the final one.
    for log, n_lines in (("joint.csv", 6), ("final.csv", 4)):
        options = ["--out", str(parts), "--checkpoint-every", "2"]
        process = launched.start([*command, *options])
        path = tmp_path / "parts.work" / log
        while not (path.exists() and path.read_text().count("\n") >= n_lines):
            assert process.is_alive(), "it ended before it could be killed"
            time.sleep(0.001)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
    app([*command, "--out", str(parts)], standalone_mode=False)
    for stage in ("joint", "final"):
        assert losses(tmp_path / "whole.work", stage) == losses(tmp_path / "parts.work", stage)
    for ours, theirs in zip(tensors(whole), tensors(parts), strict=True):
        assert torch.equal(ours, theirs)

    for start in (by_torchrun, by_srun):
        options = ["--out", str(tmp_path / f"{start.__name__}.safetensors"), "--max-seconds-per-device", "0.6"]
        start([*command, *options])
        compared = 0
        for stage in ("joint", "final"):
            alone, together = (losses(tmp_path / f"{name}.work", stage) for name in ("whole", start.__name__))
            for one, two in zip(alone, together, strict=True):
                # float32 sums in another order, which twelve updates amplify
                assert one == pytest.approx(two, rel=1e-3, abs=1e-5)
                compared += 1
        assert compared == 18
        assert alone[0]["seconds"] > 1.2, "the batches are large enough to be shared by two"


def test_a_signal_to_one_of_two_stops_both_at_one_update(command: list[str], tmp_path: Path) -> None:
    """As a batch system ends a job; then one process goes on."""
    out = tmp_path / "student.safetensors"
    options = ["--out", str(out), "--checkpoint-every", "1000"]
    processes = start_by_srun([*command, *options])
    log = tmp_path / "student.work" / "joint.csv"
    while not (log.exists() and log.read_text().count("\n") >= 3):
        assert all(process.is_alive() for process in processes), "it ended before it could be stopped"
        time.sleep(0.001)
    assert processes[1].pid is not None
    os.kill(processes[1].pid, signal.SIGTERM)
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [143, 143]
    done = torch.load(tmp_path / "student.work" / "joint.ckpt", weights_only=True)["updates_done"]
    assert done == len(losses(tmp_path / "student.work", "joint")) < 12
    app([*command, "--out", str(out)], standalone_mode=False)
    assert [len(losses(tmp_path / "student.work", stage)) for stage in ("joint", "final")] == [12, 6]
    assert tensors(out)


def test_weights_are_stored_as_asked_beside_figures_of_the_layers(command: list[str], tmp_path: Path) -> None:
    for dtype in ("float16", "float32"):
        out = tmp_path / f"{dtype}.safetensors"
        app([*command, "--out", str(out), "--dtype", dtype], standalone_mode=False)
        assert {str(tensor.dtype) for tensor in tensors(out)} == {f"torch.{dtype}"}
        for name in ("similarity.svg", "similarity.png", "similarity.json", "curves.svg"):
            assert (tmp_path / f"{dtype}.work" / name).stat().st_size > 0, name


def by_torchrun(command: list[str]) -> None:
    program = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "skill_bench"]
    # One thread each: more than cores would wait for each other.
    subprocess.run([*program, *command], env=os.environ | {"OMP_NUM_THREADS": "1"}, check=True)


def by_srun(command: list[str]) -> None:
    processes = start_by_srun(command)
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]


def start_by_srun(command: list[str]) -> list[ForkServerProcess]:
    """With the variables that SLURM's srun (22.05) gives to two tasks of one machine, as far as they are read."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {
        "MASTER_PORT": port, "SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "job.sh", "SLURM_NODELIST": "127.0.0.1",
        "SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2", "SLURM_NNODES": "1", "SLURM_NODEID": "0",
        "SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_NUM_NODES": "1",
    }  # fmt: skip
    ranks = [shared | {"SLURM_PROCID": rank, "SLURM_LOCALID": rank} for rank in ("0", "1")]
    return [launched.start(command, variables=own) for own in ranks]


def tensors(path: Path) -> list[torch.Tensor]:
    return list(safetensors.torch.load_file(path).values())
