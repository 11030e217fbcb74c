"""Devices that do not exist are refused before anything is read."""

from __future__ import annotations

import pytest
import torch

from skill_bench.base.errors import SpecError, UsageError
from skill_bench.cli.training_options import launch


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "cpu", "precision": "fp16"}, r"precision fp16 needs a GPU\. Use fp32 or bf16"),
        ({"device": "cuda:99"}, r"device cuda:99, 1 processes .*: torch can use \d+ GPUs"),
    ],
)
def test_impossible_devices(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        launch(**options)


@pytest.mark.parametrize(
    ("device", "tasks", "nodes", "message"),
    [
        ("cuda", 198, 2, r"device cuda, 99 processes on this machine: torch can use \d+ GPUs\. .* --gpus-per-node"),
        ("cpu", 3, 2, r"srun started 3 processes on 2 machines, not equally many .* --ntasks-per-node"),
        # What Fabric says of a job without --ntasks-per-node.
        ("cpu", 2, 1, r"2 processes on 1 machines cannot be joined: .*--ntasks-per-node=2"),
    ],
)
def test_processes_that_cannot_train_together(
    device: str, tasks: int, nodes: int, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"STEP_NUM_TASKS": tasks, "STEP_NUM_NODES": nodes, "NTASKS": tasks, "JOB_NAME": "x"}.items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))
    with pytest.raises(UsageError, match=message):
        launch(device=device)


def test_a_batch_script_without_srun_is_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    variables = {"NTASKS": 2, "NTASKS_PER_NODE": 2, "NNODES": 1, "PROCID": 0, "LOCALID": 0, "NODEID": 0, "JOB_ID": 7}
    for name, value in variables.items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))
    assert launch(device="cpu").part.world_size == 1


@pytest.mark.parametrize(
    ("option", "value"), [("device", "gpu"), ("precision", "int8"), ("checkpoint_every_updates", 0)]
)
def test_faulty_options_name_themselves(option: str, value: object) -> None:
    with pytest.raises(SpecError, match=rf"training options: key '{option}': .* \(found {value!r}\)"):
        launch(**{option: value})


def test_one_cpu() -> None:
    processes = launch(device="cpu", max_seconds_per_device=3.0)
    assert processes.is_first
    assert (processes.part.world_size, processes.part.max_seconds) == (1, 3.0)
    assert processes.fabric.device == torch.device("cpu")
    assert processes.gather("value") == ["value"]
