"""Cells are claimed: processes that share a folder divide a run, and what one of them dies over another takes over."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import launched
import pytest
from fake_speech import class_data
from job_world import World, until

from skill_bench.base.locks import Lock, claim
from skill_bench.evaluation import cells
from skill_bench.evaluation import evaluate as module
from skill_bench.evaluation.evaluate import Outcome, evaluate
from skill_bench.evaluation.plan import Plan, UpstreamRequest
from skill_bench.records.record import Record


def run(world: World, plan: Plan, *, wait: bool = True) -> Outcome:
    """The run as one process of several does it."""
    cells.POLL_SECONDS = 0.05
    with pytest.MonkeyPatch.context() as patched:
        world.install(lambda name, value: patched.setattr(module, name, value))
        return evaluate(plan, load=world, wait=wait)


@pytest.fixture
def world(tmp_path: Path) -> World:
    data = class_data(tmp_path / "audio")
    return World(tmp_path, {task: replace(data, task=task) for task in ("ks", "sid", "er", "ic")})


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return Plan(
        upstreams=[UpstreamRequest(name="fake")],
        suite="demo",
        tasks=["ks", "sid", "er", "ic"],
        seeds=[0, 1],
        out_dir=tmp_path / "out",
        cache_dir=tmp_path / "cache",
    )


@pytest.fixture
def start() -> Iterator[Callable[..., ForkServerProcess]]:
    started: list[ForkServerProcess] = []

    def call(*given: object, **named: object) -> ForkServerProcess:
        started.append(launched.call(run, *given, **named))
        return started[-1]

    yield call
    for process in started:
        process.kill()
        process.join()


def test_the_same_run_started_three_times_trains_no_cell_twice(
    tmp_path: Path, world: World, plan: Plan, start: Callable[..., ForkServerProcess]
) -> None:
    processes = [start(world, plan) for _ in range(3)]
    for process in processes:
        process.join()
        assert process.exitcode == 0
    trained = [(task, int(seed)) for _, task, seed, _ in world.begun()]
    assert sorted(trained) == sorted((task, seed) for task in plan.tasks for seed in plan.seeds)
    after = run(world, plan)
    assert (len(after.records), after.n_skipped, after.failures) == (8, 8, [])
    assert not list((tmp_path / "out").rglob("*.claim")), "what is finished is not claimed"


def test_what_a_killed_process_was_at_is_taken_over_by_one_that_waits(
    tmp_path: Path, world: World, plan: Plan, start: Callable[..., ForkServerProcess]
) -> None:
    plan = replace(plan, tasks=["ks", "sid"], seeds=[0])
    world.shut("ks")
    owner = start(world, plan)
    world.wait_for("ks")
    other = start(world, plan)
    until((tmp_path / "out/demo/fake/sid-s0.json").exists)
    assert other.is_alive(), "it waits for the cell that the first one is at"
    assert owner.pid is not None
    os.kill(owner.pid, signal.SIGKILL)
    world.wait_for("ks", times=2)
    world.open("ks")
    other.join()
    assert other.exitcode == 0
    assert [task for _, task, _, _ in world.begun()] == ["ks", "sid", "ks"]
    assert Record.read(tmp_path / "out/demo/fake/ks-s0.json").status == "finished"


def test_what_others_are_at_is_left_out_or_waited_for(tmp_path: Path, world: World, plan: Plan) -> None:
    plan = replace(plan, tasks=["ks"], seeds=[0, 1])
    held = Lock(tmp_path / "out/demo/fake/ks-s1.claim")
    assert held.take()
    outcome = run(world, plan, wait=False)
    assert [record.key.seed for record in outcome.records] == [0]
    assert outcome.failures == []
    threading.Timer(0.5, partial(held.release, remove=True)).start()
    outcome = run(world, plan)
    assert [record.key.seed for record in outcome.records] == [0, 1]
    assert outcome.n_skipped == 1


def test_what_another_process_has_just_failed_at_is_reported_and_not_tried_again(
    tmp_path: Path, world: World, plan: Plan, start: Callable[..., ForkServerProcess]
) -> None:
    first, second = (replace(plan, tasks=["ks", task], seeds=[0]) for task in ("sid", "er"))
    (tmp_path / "fail-ks").touch()
    with claim(tmp_path / "out/demo/fake/ks-s0.claim"):
        waiting = [start(world, plan) for plan in (first, second)]
        for task in ("sid", "er"):
            until((tmp_path / f"out/demo/fake/{task}-s0.json").exists)
    for process in waiting:
        process.join()
        assert process.exitcode == 0
    assert sorted(task for _, task, _, _ in world.begun()) == ["er", "ks", "sid"], "one of the two tried"
    assert Record.read(tmp_path / "out/demo/fake/ks-s0.json").status == "failed"
    assert run(world, replace(first, tasks=["ks"])).n_skipped == 0, "the next run tries again"
    assert [task for _, task, _, _ in world.begun()].count("ks") == 2
