"""What every launcher has to stand: whatever happens to jobs, the records are those of a plain run, and each cell's."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Literal

import launched
import pytest
from job_world import Heard, World, numbers, until

from skill_bench.evaluation import evaluate as module
from skill_bench.evaluation.evaluate import Outcome, evaluate
from skill_bench.evaluation.plan import Plan, UpstreamRequest
from skill_bench.launch.journal import FILE, Launched, launches
from skill_bench.launch.launch import ENGINES, in_jobs
from skill_bench.launch.options import Launcher, LaunchOptions
from skill_bench.launch.status import Status, status

pytestmark = pytest.mark.slow

Begin = Callable[..., Future[Outcome]]


@pytest.fixture
def plain(world: World, plan: Plan, tmp_path: Path) -> Callable[..., dict[str, object]]:
    """The numbers of a plain run."""

    def run(plan: Plan) -> dict[str, object]:
        out = tmp_path / "plain"
        outcome = evaluate(replace(plan, out_dir=out, cache_dir=tmp_path / "plain-cache"), load=world)
        assert len(outcome.records) == len(plan.upstreams) * len(plan.tasks) * len(plan.seeds)
        (tmp_path / "begun").unlink()
        return numbers(out)

    return run


@pytest.fixture
def state(plan: Plan, launcher: Launcher) -> Callable[[], Status]:
    """How far the latest launch is."""
    engines = {launcher: lambda: ENGINES[launcher](LaunchOptions(launcher=launcher))}
    return lambda: status(plan.out_dir, engines=engines)[-1]


def ids(plan: Plan) -> list[str]:
    """Of the jobs of the latest launch."""
    until(lambda: launches(plan.out_dir))
    return [job.id for job in Launched.read(launches(plan.out_dir)[-1] / FILE).jobs]


def test_two_launchers_at_once_divide_the_cells_of_a_plain_run(
    begin: Begin, world: World, plan: Plan, plain: Callable[..., dict[str, object]]
) -> None:
    expected = plain(plan)
    for future in [begin(plan, max_jobs=2), begin(plan, max_jobs=2)]:
        outcome = future.result()
        assert (len(outcome.records), outcome.n_skipped, outcome.failures) == (8, 0, [])
    assert numbers(plan.out_dir) == expected
    assert set(Counter(line[:3] for line in world.begun()).values()) == {1}, "no cell was trained twice"
    n_launches = len(launches(plan.out_dir))
    again = begin(plan).result()
    assert (len(again.records), again.n_skipped, n_launches) == (8, 8, 2)
    assert len(launches(plan.out_dir)) == n_launches, "where nothing is missing, nothing is launched"


@pytest.fixture
def in_background() -> Iterator[None]:
    """A shell starts commands so that run in its background, and what they start inherits it."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("end", ["kill -9", "cancel"])
def test_what_a_lost_job_was_at_is_made_up_for(
    end: str, begin: Begin, world: World, launcher: Launcher, plan: Plan, plain: Callable[..., dict[str, object]],
    in_background: None,
) -> None:  # fmt: skip
    plan = replace(plan, upstreams=plan.upstreams[:1])
    expected = plain(plan)
    world.shut("ks")
    running = begin(plan, max_jobs=1)
    pid = world.wait_for("ks")
    if end == "cancel":
        ENGINES[launcher](LaunchOptions(launcher=launcher)).cancel(ids(plan))
    else:
        os.kill(pid, signal.SIGKILL)
    assert world.wait_for("ks", times=2) != pid
    world.open("ks")
    outcome = running.result()
    assert (len(outcome.records), outcome.failures) == (4, [])
    assert numbers(plan.out_dir) == expected
    begun = Counter(line[:3] for line in world.begun())
    assert begun["one", "ks", "0"] == 2
    assert sum(begun.values()) == 5, "only the cell that it was at was lost"


def test_a_job_out_of_time_comes_back_and_goes_on(
    begin: Begin, world: World, launcher: Launcher, plan: Plan, plain: Callable[..., dict[str, object]]
) -> None:
    # One job has ks and er, another one sid and ic.
    plan = replace(plan, upstreams=plan.upstreams[:1], tasks=["ks", "sid", "er", "ic"], seeds=[0])
    expected = plain(plan)
    world.shut("ic")
    running = begin(plan, max_jobs=1, time="2m" if launcher == "slurm" else "30s", cpus_per_job=1)
    first = world.wait_for("ic")
    assert world.wait_for("ic", times=2) != first
    world.open("ic")
    outcome = running.result()
    assert (len(outcome.records), outcome.failures) == (4, [])
    assert numbers(plan.out_dir) == expected
    assert Counter(line[1] for line in world.begun()) == {"ks": 1, "er": 1, "sid": 1, "ic": 2}
    assert len(ids(plan)) == len(set(ids(plan))), "it is the same job, not another one"


@pytest.mark.usefixtures("among_files_named_as_modules")
def test_a_failed_upstream_fails_alone(
    begin: Begin, world: World, plan: Plan, plain: Callable[..., dict[str, object]]
) -> None:
    plan = replace(plan, tasks=["ks"], seeds=[0])
    expected = plain(plan)
    heard = Heard()
    lame = [UpstreamRequest(name="lame"), *plan.upstreams]
    outcome = begin(replace(plan, upstreams=lame), max_jobs=2, heard=heard).result()
    assert numbers(plan.out_dir) == expected
    [failure] = outcome.failures
    assert failure.name == "lame, ks, seed 0"
    assert "lame.safetensors: is not on this machine" in failure.error
    assert "_log.err ends:" in failure.error
    assert "1 cell was lost with its job, and is run again" in heard.notes


def test_detached_jobs_go_on_and_status_says_how_far_they_are(
    begin: Begin, world: World, plan: Plan, state: Callable[[], Status]
) -> None:
    plan = replace(plan, upstreams=plan.upstreams[:1])
    world.shut("sid")
    outcome = begin(plan, max_jobs=1, detach=True).result()
    assert (outcome.records, outcome.failures) == ([], [])
    world.wait_for("sid")
    until(lambda: state().count("done") == 2)
    found = state()
    assert [(name, state) for name, state in found.cells.items() if state != "running"] == [
        ("one, ks, seed 0", "done"),
        ("one, ks, seed 1", "done"),
    ]
    assert found.count("running") == 2
    assert list(found.jobs.values()) == ["running"]
    assert found.hours_left is not None
    assert found.hours_left > 0
    world.open("sid")
    until(lambda: not state().jobs)
    found = state()
    assert (found.count("done"), found.hours_left, found.problems) == (4, 0.0, ())


@pytest.mark.parametrize("choice", ["leave", "cancel"])
def test_ctrl_c_leaves_the_jobs_or_cancels_them(
    choice: Literal["leave", "cancel"], world: World, plan: Plan, launcher: Launcher, state: Callable[[], Status]
) -> None:
    plan = replace(plan, upstreams=plan.upstreams[:1], tasks=["ks"], seeds=[0])
    world.shut("ks")
    options = LaunchOptions(launcher=launcher, max_jobs=1, on_interrupt=choice)
    command = launched.call(interrupted, plan, options, world)
    world.wait_for("ks")
    assert command.pid is not None
    os.kill(command.pid, signal.SIGINT)
    command.join()
    assert command.exitcode == 130
    if choice == "cancel":
        until(lambda: not state().jobs)
        assert state().cells == {"one, ks, seed 0": "lost"}
        assert "ended early" in state().problems[0]
    else:
        assert list(state().jobs.values()) == ["running"]
    world.open("ks")
    if choice == "leave":
        until(lambda: not state().jobs)
        assert state().cells == {"one, ks, seed 0": "done"}


def interrupted(plan: Plan, options: LaunchOptions, world: World) -> None:
    world.install(lambda name, value: setattr(module, name, value))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        in_jobs(plan, options, load=world)
    except KeyboardInterrupt:
        os._exit(130)


@pytest.fixture(autouse=True)
def _nothing_stays(plan: Plan, launcher: Launcher, world: World) -> Iterator[None]:
    yield
    for path in world.folder.glob("shut-*"):
        path.unlink()
    engine = ENGINES[launcher](LaunchOptions(launcher=launcher))
    for folder in launches(plan.out_dir):
        engine.cancel([job.id for job in Launched.read(folder / FILE).jobs])
