"""Launchers, and a small world for their jobs. SLURM is started by the command in SKILL_BENCH_SLURM_START."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_speech import class_data
from job_world import Heard, World, until

from skill_bench.evaluation import evaluate as module
from skill_bench.evaluation.evaluate import Outcome
from skill_bench.evaluation.plan import Plan, UpstreamRequest
from skill_bench.launch import follow
from skill_bench.launch.launch import in_jobs
from skill_bench.launch.options import Launcher, LaunchOptions


@pytest.fixture(scope="session")
def slurm() -> Iterator[None]:
    """A real SLURM on this machine; one that is started here ends with the tests."""
    start = os.environ.get("SKILL_BENCH_SLURM_START")
    if not start:
        pytest.skip("SKILL_BENCH_SLURM_START is not set")
    there = subprocess.run(["sinfo"], capture_output=True, check=False).returncode == 0
    if not there:
        subprocess.run(["bash", start], check=True)
    until(
        lambda: (
            "idle" in subprocess.run(["sinfo", "-h", "-o", "%T"], capture_output=True, text=True, check=False).stdout
        )
    )
    yield
    if not there:
        subprocess.run(["scontrol", "shutdown"], check=True)


@pytest.fixture(params=["local", "slurm"])
def launcher(request: pytest.FixtureRequest) -> Launcher:
    chosen: Launcher = request.param
    if chosen == "slurm":
        request.getfixturevalue("slurm")
    return chosen


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    data = class_data(tmp_path / "audio")
    made = World(tmp_path, {task: replace(data, task=task) for task in ("ks", "sid", "er", "ic")})
    made.install(lambda name, value: monkeypatch.setattr(module, name, value))
    monkeypatch.setattr(follow, "POLL_SECONDS", 0.2)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
    return made


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return Plan(
        upstreams=[UpstreamRequest(name="one"), UpstreamRequest(name="two")],
        suite="demo",
        tasks=["ks", "sid"],
        seeds=[0, 1],
        out_dir=tmp_path / "out",
        cache_dir=tmp_path / "cache",
    )


@pytest.fixture
def begin(world: World, launcher: Launcher) -> Iterator[Callable[..., Future[Outcome]]]:
    """Starts a launch; what it comes to is told when it ends."""
    with ThreadPoolExecutor() as threads:

        def call(plan: Plan, *, heard: Heard | None = None, **options: Any) -> Future[Outcome]:
            chosen = LaunchOptions(launcher=launcher, **options)
            return threads.submit(in_jobs, plan, chosen, load=world, progress=heard or Heard())

        yield call
