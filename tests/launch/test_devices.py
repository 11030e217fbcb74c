"""One process a device: the same mechanism as local jobs, seen on two CPUs."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from job_world import World, numbers
from typer.testing import CliRunner

from skill_bench.base.errors import UsageError
from skill_bench.base.progress import Silent
from skill_bench.cli import launch_options
from skill_bench.cli.main import app
from skill_bench.evaluation.evaluate import evaluate
from skill_bench.evaluation.plan import Plan
from skill_bench.launch.launch import in_jobs
from skill_bench.launch.options import read_options


@pytest.mark.slow
def test_two_devices_share_the_cells_of_a_plain_run(world: World, plan: Plan, tmp_path: Path) -> None:
    plain = replace(plan, out_dir=tmp_path / "plain", cache_dir=tmp_path / "plain-cache")
    assert len(evaluate(plain, load=world).records) == 8
    (tmp_path / "begun").unlink()
    options = read_options({"devices": ("cpu", "cpu")}, file=None)
    assert options is not None
    outcome = in_jobs(plan, options, load=world, progress=Silent())
    assert (len(outcome.records), outcome.failures) == (8, [])
    assert numbers(plan.out_dir) == numbers(plain.out_dir)
    assert set(Counter(line[:3] for line in world.begun()).values()) == {1}, "no cell was trained twice"


def test_the_command_line_names_them(tmp_path: Path) -> None:
    assert launch_options._devices("cpu, cpu") == ("cpu", "cpu")
    assert launch_options._devices(None) is None
    with pytest.raises(UsageError, match=r"--devices 'gpu': expected cpu, cuda or cuda:1\."):
        launch_options._devices("cpu,gpu")
    both = ["run", "-u", "fbank", "--out", str(tmp_path / "out"), "--devices", "cpu,cpu", "--max-jobs", "3"]
    found = CliRunner().invoke(app, both)
    assert "devices say that max_jobs is 2, found 3. Leave max_jobs out." in str(found.exception)


def test_all_are_the_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 3)
    assert launch_options._devices("all") == ("cuda:0", "cuda:1", "cuda:2")
    assert launch_options._devices("cuda:2,cuda:0") == ("cuda:2", "cuda:0")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    with pytest.raises(UsageError, match=r"--devices all: torch can use no GPU here. Give --devices cpu,cpu for two"):
        launch_options._devices("all")
    with pytest.raises(UsageError, match=r"--devices cuda:0: torch can use 0 GPUs here"):
        launch_options._devices("cuda:0")
