"""Cells are claimed: processes that share a folder divide a run, and what one of them dies over another takes over."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import launched
import pytest
from fake_speech import FakeUpstream, class_data

from skill_bench.base.errors import DataError
from skill_bench.base.locks import Lock, claim
from skill_bench.base.progress import Silent
from skill_bench.corpora.data import TaskData
from skill_bench.evaluation import cells
from skill_bench.evaluation import evaluate as module
from skill_bench.evaluation.cell_result import CellResult, run_cells
from skill_bench.evaluation.evaluate import Outcome, evaluate
from skill_bench.evaluation.plan import Plan, UpstreamRequest
from skill_bench.evaluation.task_files import load_task
from skill_bench.records.record import Record, System
from skill_bench.tasks import TaskSpec


class Evaluated(FakeUpstream):
    def system(self) -> System:
        return System(name=self.name, title="Fake", kind="control", identity=self.identity)


def quick(name: str) -> TaskSpec:
    task = load_task(name)
    settings = {"steps": 4, "evaluate_every_steps": 2, "learning_rates": (0.01,)}
    return task.model_copy(update={"suites": {}, "protocol": task.protocol.model_copy(update=settings)})


def written_down(
    log: Path, upstream: FakeUpstream, task: TaskSpec, data: TaskData, *, seeds: tuple[int, ...], **options: object
) -> Iterator[CellResult]:
    """`run_cells` that leaves a line in ``log`` for each cell when it is begun, so that no two can hide."""
    for seed in seeds:
        line = f"{task.name} {seed} {os.getpid()}\n"
        descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, line.encode())
        os.close(descriptor)
        yield from run_cells(upstream, task, data, seeds=(seed,), **options)  # type: ignore[arg-type]


def run(folder: Path, plan: Plan, *, slowly: bool = False, fail: str = "") -> Outcome:
    """The run as one process of several does it: `fail` names a task that nothing comes of."""
    data = class_data(folder / "audio")
    cells.POLL_SECONDS = 0.05

    def cells_of(
        upstream: FakeUpstream, task: TaskSpec, data: TaskData, *, seeds: tuple[int, ...], **options: object
    ) -> Iterator[CellResult]:
        for result in written_down(folder / "begun", upstream, task, data, seeds=seeds, **options):
            if slowly:
                time.sleep(60)
            if task.name == fail:
                raise DataError("nothing came of it")
            yield result

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "load_task_data", lambda suite, task, **_: replace(data, task=task))
        patched.setattr(module, "load_task", quick)
        patched.setattr(module, "run_cells", cells_of)
        return evaluate(plan, load=lambda request: Evaluated(), progress=Silent())


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


def begun(folder: Path) -> list[tuple[str, ...]]:
    """Task, seed and process of every cell that anybody began."""
    path = folder / "begun"
    return [tuple(line.split()) for line in path.read_text().splitlines()] if path.exists() else []


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


def until(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(0.05)


def test_the_same_run_started_three_times_trains_no_cell_twice(
    tmp_path: Path, plan: Plan, start: Callable[..., ForkServerProcess]
) -> None:
    processes = [start(tmp_path, plan) for _ in range(3)]
    for process in processes:
        process.join()
        assert process.exitcode == 0
    trained = [line[:2] for line in begun(tmp_path)]
    assert sorted(trained) == sorted((task, str(seed)) for task in plan.tasks for seed in plan.seeds)
    after = run(tmp_path, plan)
    assert (len(after.records), after.n_skipped, after.failures) == (8, 8, [])
    assert not list((tmp_path / "out").rglob("*.claim")), "what is finished is not claimed"


def test_what_a_killed_process_was_at_is_taken_over_by_one_that_waits(
    tmp_path: Path, plan: Plan, start: Callable[..., ForkServerProcess]
) -> None:
    plan = replace(plan, tasks=["ks", "sid"], seeds=[0])
    owner = start(tmp_path, plan, slowly=True)
    until(lambda: len(begun(tmp_path)) == 1)
    other = start(tmp_path, plan)
    until((tmp_path / "out/demo/fake/sid-s0.json").exists)
    assert other.is_alive(), "it waits for the cell that the first one is at"
    assert owner.pid is not None
    os.kill(owner.pid, signal.SIGKILL)
    other.join()
    assert other.exitcode == 0
    assert [line[:2] for line in begun(tmp_path)] == [("ks", "0"), ("sid", "0"), ("ks", "0")]
    assert Record.read(tmp_path / "out/demo/fake/ks-s0.json").status == "finished"


def test_what_others_are_at_is_left_out_or_waited_for(tmp_path: Path, plan: Plan) -> None:
    plan = replace(plan, tasks=["ks"], seeds=[0, 1])
    place = tmp_path / "out/demo/fake/ks-s1.claim"
    held = Lock(place)
    assert held.take()
    data = class_data(tmp_path / "audio")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "load_task_data", lambda *_, **__: data)
        patched.setattr(module, "load_task", quick)
        outcome = evaluate(plan, load=lambda request: Evaluated(), wait=False)
    assert [record.key.seed for record in outcome.records] == [0]
    assert outcome.failures == []
    threading.Timer(0.5, partial(held.release, remove=True)).start()
    outcome = run(tmp_path, plan)
    assert [record.key.seed for record in outcome.records] == [0, 1]
    assert outcome.n_skipped == 1


def test_what_another_process_has_just_failed_at_is_reported_and_not_tried_again(
    tmp_path: Path, plan: Plan, start: Callable[..., ForkServerProcess]
) -> None:
    first, second = (replace(plan, tasks=["ks", task], seeds=[0]) for task in ("sid", "er"))
    with claim(tmp_path / "out/demo/fake/ks-s0.claim"):
        waiting = [start(tmp_path, plan, fail="ks") for plan in (first, second)]
        for task in ("sid", "er"):
            until((tmp_path / f"out/demo/fake/{task}-s0.json").exists)
    for process in waiting:
        process.join()
        assert process.exitcode == 0
    assert sorted(line[0] for line in begun(tmp_path)) == ["er", "ks", "sid"], "one of the two tried"
    assert Record.read(tmp_path / "out/demo/fake/ks-s0.json").status == "failed"
    assert run(tmp_path, replace(first, tasks=["ks"])).n_skipped == 0, "the next run tries again"
    assert [line[0] for line in begun(tmp_path)].count("ks") == 2
