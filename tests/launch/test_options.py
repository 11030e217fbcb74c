"""Options of jobs: from the command line and a file, each reaching what SLURM is asked for.

One process a device: the same mechanism as local jobs, seen on two CPUs.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from job_world import World, numbers
from typer.testing import CliRunner

from skill_bench.base.errors import MissingExtra, SpecError, UsageError
from skill_bench.base.progress import Silent
from skill_bench.cli import run_options
from skill_bench.cli.main import app
from skill_bench.evaluation.evaluate import evaluate
from skill_bench.evaluation.plan import Plan
from skill_bench.launch.launch import engine_of, in_jobs
from skill_bench.launch.options import Launcher, LaunchOptions, read_options, seconds_in
from skill_bench.launch.slurm import Slurm


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("4h", 14400), ("90m", 5400), ("1d12h", 129600), ("30s", 30), ("1h 30m", 5400), ("4", 0), ("h4", 0), ("", 0)],
)
def test_times(text: str, seconds: int) -> None:
    assert seconds_in(text) == seconds


def test_the_command_line_comes_before_the_file(tmp_path: Path) -> None:
    path = tmp_path / "launch.toml"
    path.write_text('launcher = "slurm"\nmax_jobs = 8\ntime = "2h"\nsetup = ["module load x"]\n[sbatch]\nnice = 5\n')
    found = read_options({"max_jobs": 3, "time": None}, file=path)
    assert found == LaunchOptions(launcher="slurm", max_jobs=3, time="2h", setup=("module load x",), sbatch={"nice": 5})
    assert read_options({"launcher": None, "detach": None}, file=None) is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"launcher": "slurn"}, "Input should be 'local' or 'slurm' (found 'slurn')"),
        ({"launcher": "slurm", "time": "4"}, "time '4': expected such as 4h, 90m or 1d12h"),
        ({"launcher": "slurm", "max_jobs": 0}, "key 'max_jobs': Input should be greater than 0 (found 0)"),
        ({"max_jobs": 3}, "--max-jobs without a launcher. Add --launcher slurm, or --launcher local."),
        ({"launcher": "local", "partition": "gpu"}, "partition is for --launcher slurm, found --launcher local."),
        ({"launcher": "slurm", "cpu_partition": "cpu"}, "cpu_partition is for probes of jobs with GPUs."),
    ],
)
def test_what_cannot_be_is_said(given: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError) as found:
        read_options(given, file=None)
    assert message in str(found.value)


def test_an_unknown_key_of_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "launch.toml").write_text('launcher = "local"\nmax_job = 8\n')
    with pytest.raises(SpecError, match=r"launch\.toml: unknown key 'max_job'\. Did you mean 'max_jobs'\?"):
        read_options({}, file=tmp_path / "launch.toml")


ASKED: dict[str, tuple[Any, dict[str, Any]]] = {
    "max_jobs": (3, {"array_parallelism": 3}),
    "gpus_per_job": (2, {"gpus_per_node": 2}),
    "cpus_per_job": (8, {"cpus_per_task": 8, "srun_args": ["--cpus-per-task=8"]}),
    "memory": ("32GB", {"mem": "32GB"}),
    "time": ("90m", {"time": 90, "signal_delay_s": 90}),
    "partition": ("gpu", {"partition": "gpu"}),
    "account": ("speech", {"account": "speech"}),
    "qos": ("long", {"qos": "long"}),
    "constraint": ("a100", {"constraint": "a100"}),
    "setup": (("module load x",), {"setup": ["module load x"]}),
    "sbatch": ({"nice": 5}, {"additional_parameters": {"requeue": True, "nice": 5}}),
}


def test_each_option_alone_changes_what_slurm_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: name)
    plain = Slurm(LaunchOptions(launcher="slurm")).parameters(on_gpu=True, after=())
    for name, (value, expected) in ASKED.items():
        options = LaunchOptions(launcher="slurm", **{name: value})
        assert Slurm(options).parameters(on_gpu=True, after=()) == plain | expected, name
    elsewhere = {"launcher", "devices", "cpu_partition", "on_interrupt", "detach"}
    assert ASKED.keys() | elsewhere == set(LaunchOptions.model_fields)
    split = Slurm(LaunchOptions(launcher="slurm", gpus_per_job=1, partition="gpu", cpu_partition="cpu"))
    assert split.parameters(on_gpu=False, after=["7_0", "7_1"]) == plain | {
        "partition": "cpu",
        "dependency": "afterany:7_0:7_1",
    }


@pytest.mark.parametrize("launcher", ["local", "slurm"])
def test_without_submitit_it_is_said_how_to_get_it(launcher: Launcher, monkeypatch: pytest.MonkeyPatch) -> None:
    from skill_bench.launch.launch import ENGINES

    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for asked, options in (
        (f"--launcher {launcher}", LaunchOptions(launcher=launcher)),
        ("--devices", LaunchOptions(launcher=launcher, devices=("cpu", "cpu"))),
    ):
        with pytest.raises(MissingExtra) as found:
            ENGINES[launcher](options)
        assert str(found.value) == (
            f"{asked} needs submitit, which is not installed. Run in a checkout of skill-bench: "
            "pip install '.[cluster]'"
        )


def test_a_job_a_device() -> None:
    found = read_options({"devices": ("cuda:2", "cuda:0")}, file=None)
    assert found == LaunchOptions(
        launcher="local", devices=("cuda:2", "cuda:0"), max_jobs=2, gpus_per_job=1, on_interrupt="cancel"
    )
    assert [found.gpus_of(job) for job in range(2)] == [["2"], ["0"]]
    on_cpu = read_options({"devices": ("cpu",) * 3, "on_interrupt": "leave"}, file=None)
    assert on_cpu == LaunchOptions(launcher="local", devices=("cpu",) * 3, max_jobs=3)
    assert on_cpu.gpus_of(1) == []


def test_a_file_may_name_devices(tmp_path: Path) -> None:
    path = tmp_path / "launch.toml"
    path.write_text('devices = ["cuda:0", "cuda:1"]\n')
    found = read_options({}, file=path)
    assert found is not None
    assert (found.launcher, found.max_jobs, found.gpus_per_job) == ("local", 2, 1)


def test_gpus_are_those_that_the_command_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,GPU-abc")
    by_name = LaunchOptions(launcher="local", devices=("cuda:1", "cuda"), max_jobs=2, gpus_per_job=1)
    assert [by_name.gpus_of(job) for job in range(2)] == [["GPU-abc"], ["5"]]
    assert LaunchOptions(launcher="local", gpus_per_job=2).gpus_of(0) == ["5", "GPU-abc"]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert [LaunchOptions(launcher="local", gpus_per_job=2).gpus_of(job) for job in range(2)] == [
        ["0", "1"],
        ["2", "3"],
    ]


@pytest.mark.parametrize(
    ("given", "needed", "asked"),
    [
        ({"max_jobs": 2, "gpus_per_job": 1}, 2, "max_jobs 2 with gpus_per_job 1: expected 2 GPUs"),
        ({"max_jobs": 1, "gpus_per_job": 3}, 3, "max_jobs 1 with gpus_per_job 3: expected 3 GPUs"),
        ({"devices": ("cuda:3", "cuda:0")}, 4, "devices cuda:3, cuda:0: expected 4 GPUs"),
        ({"devices": ("cuda",)}, 1, "devices cuda: expected 1 GPU"),
        ({"max_jobs": 9}, 0, ""),
        ({"devices": ("cpu",) * 9}, 0, ""),
    ],
)
def test_gpus_that_are_not_there_are_missed_before_anything_is_submitted(
    given: dict[str, object], needed: int, asked: str, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = read_options({"launcher": "local", **given}, file=None)
    assert options is not None
    monkeypatch.setattr("torch.cuda.device_count", lambda: needed)
    engine_of(options, device="cpu")
    monkeypatch.setattr("torch.cuda.device_count", lambda: needed - 1)
    if needed:
        with pytest.raises(UsageError) as found:
            in_jobs(plan, options)
        assert str(found.value) == f"{asked} on this machine, torch can use {needed - 1}. Ask for fewer."
        assert not plan.out_dir.exists()


@pytest.mark.parametrize("given", [{"launcher": "local"}, {"devices": ("cpu", "cpu")}])
def test_a_device_that_jobs_would_not_have_is_refused(given: dict[str, object], plan: Plan) -> None:
    options = read_options(given, file=None)
    assert options is not None
    with pytest.raises(UsageError) as found:
        in_jobs(replace(plan, device="cuda:1"), options)
    assert str(found.value) == (
        "--device cuda:1: jobs of this machine have no GPU unless they ask for one. Add --gpus-per-job 1, or give "
        "--devices cuda:0,cuda:1 alone."
    )


@pytest.mark.parametrize(("time", "local", "slurm"), [("30s", 30, 60), ("90s", 90, 120), ("1h", 3600, 3600)])
def test_slurm_counts_in_minutes(time: str, local: int, slurm: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert LaunchOptions(launcher="local", time=time).seconds == local
    options = LaunchOptions(launcher="slurm", time=time)
    assert options.seconds == slurm
    monkeypatch.setattr("shutil.which", lambda name: name)
    assert 60 * Slurm(options).parameters(on_gpu=True, after=())["time"] == slurm


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"devices": ("cpu", "cuda:0")}, "devices cpu, cuda:0: expected GPUs, each once, or cpu as often as you like."),
        ({"devices": ("cuda", "cuda:0")}, "devices cuda, cuda:0: expected GPUs, each once"),
        ({"devices": ("cpu", "cpu"), "max_jobs": 3}, "devices say that max_jobs is 2, found 3. Leave max_jobs out."),
        ({"devices": ("cpu",), "launcher": "slurm"}, "devices say that launcher is local, found slurm."),
        ({"devices": ("cuda:0",), "gpus_per_job": 2}, "devices say that gpus_per_job is 1, found 2."),
    ],
)
def test_devices_that_cannot_be_are_said(given: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError) as found:
        read_options(given, file=None)
    assert message in str(found.value)


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
    assert run_options._devices("cpu, cpu") == ("cpu", "cpu")
    assert run_options._devices(None) is None
    with pytest.raises(UsageError, match=r"--devices 'gpu': expected cpu, cuda or cuda:1\."):
        run_options._devices("cpu,gpu")
    both = ["run", "-u", "fbank", "--out", str(tmp_path / "out"), "--devices", "cpu,cpu", "--max-jobs", "3"]
    found = CliRunner().invoke(app, both)
    assert "devices say that max_jobs is 2, found 3. Leave max_jobs out." in str(found.exception)


def test_all_are_the_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 3)
    assert run_options._devices("all") == ("cuda:0", "cuda:1", "cuda:2")
    assert run_options._devices("cuda:2,cuda:0") == ("cuda:2", "cuda:0")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    with pytest.raises(UsageError, match=r"--devices all: torch can use no GPU here. Give --devices cpu,cpu for two"):
        run_options._devices("all")
    with pytest.raises(UsageError, match=r"--devices cuda:0: torch can use 0 GPUs here"):
        run_options._devices("cuda:0")
