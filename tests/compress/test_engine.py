"""Devices that do not exist are refused before anything is read."""

from __future__ import annotations

import pytest
import torch

from skill_bench.cli.training_options import launch
from skill_bench.errors import SpecError, UsageError


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "cpu", "precision": "fp16"}, r"precision fp16 needs a GPU\. Use fp32 or bf16"),
        ({"device": "cuda:99"}, r"device cuda:99, 1 of them: torch can use \d+ GPUs"),
        ({"device": "cuda", "devices": 99}, r"device cuda, 99 of them: torch can use \d+ GPUs"),
        ({"device": "cpu", "devices": 2}, r"devices = 2, nodes = 1: .* torchrun --nproc-per-node 2 -m skill_bench"),
    ],
)
def test_impossible_devices(options: dict[str, object], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for started_by in ("TORCHELASTIC_RUN_ID", "SLURM_PROCID"):
        monkeypatch.delenv(started_by, raising=False)
    with pytest.raises(UsageError, match=message):
        launch(**options)


@pytest.mark.parametrize(("option", "value"), [("device", "gpu"), ("precision", "int8"), ("devices", 0)])
def test_faulty_options_name_themselves(option: str, value: object) -> None:
    with pytest.raises(SpecError, match=rf"training options: key '{option}': .* \(found {value!r}\)"):
        launch(**{option: value})


def test_one_cpu() -> None:
    processes = launch(device="cpu", max_seconds_per_device=3.0)
    assert processes.is_first
    assert (processes.part.world_size, processes.part.max_seconds) == (1, 3.0)
    assert processes.fabric.device == torch.device("cpu")
    assert processes.gather("value") == ["value"]
