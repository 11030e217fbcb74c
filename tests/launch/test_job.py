"""What a job does with its groups, and when it is started again. In this process, without a launcher.

How work is shared out: nothing is lost or doubled, a group has one upstream, the longest comes first.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from fake_speech import class_data, sequence_data
from hypothesis import given
from hypothesis import strategies as st
from job_world import Evaluated, World

from skill_bench.base.errors import SkillBenchError
from skill_bench.base.locks import claim
from skill_bench.evaluation.evaluate import TaskCase
from skill_bench.evaluation.plan import Plan, UpstreamRequest
from skill_bench.evaluation.task_files import load_task
from skill_bench.launch import job as module
from skill_bench.launch.job import MOST_TRIES, Group, Job
from skill_bench.launch.options import LaunchOptions
from skill_bench.launch.share import Missing, Work, grouped, share

work_lists = st.lists(
    st.builds(
        Work,
        owner=st.tuples(st.integers(0, 3), st.just((0,))),
        task=st.text("abc", min_size=1, max_size=3),
        seconds=st.none() | st.floats(0, 1e5),
    ),
    max_size=30,
)


@pytest.fixture
def job(plan: Plan, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Job]]:
    """With a group a task; `seconds` is what it may take. The process is the test's again when it is over."""
    monkeypatch.setattr(module, "POLL_SECONDS", 0.01)
    monkeypatch.setattr("sys.argv", [*sys.argv])
    n_threads = torch.get_num_threads()
    one = replace(plan, upstreams=plan.upstreams[:1], seeds=[0], profile=False)
    names = dict(zip(("a", "b"), plan.tasks, strict=True))

    def made(after: tuple[str, ...] = (), **changes: Any) -> Job:
        groups = [
            Group(name=name, plan=replace(one, tasks=[task]), records=(plan.out_dir / f"demo/one/{task}-s0.json",))
            for name, task in names.items()
        ]
        groups[0] = replace(groups[0], after=after)
        given: dict[str, Any] = {"groups": tuple(groups), "seconds": 3600.0, "n_threads": 1, "n_threads_alone": None}
        return Job(**(given | {"folder": tmp_path, "load": world, "command": ("skill-bench", "run")} | changes))

    yield made
    torch.set_num_threads(n_threads)


def tasks(world: World) -> list[str]:
    return [line[1] for line in world.begun()]


def test_groups_are_done_in_order_and_once(job: Callable[..., Job], world: World) -> None:
    job()()
    assert tasks(world) == ["ks", "sid"]
    job()()
    assert tasks(world) == ["ks", "sid"], "what another job has done"


def test_what_others_are_at_is_left_to_them(job: Callable[..., Job], world: World, tmp_path: Path) -> None:
    with claim(tmp_path / "a.claim"):
        (tmp_path / "a.tried").write_text("." * MOST_TRIES)
        job()()
    assert tasks(world) == ["sid"]


def test_a_group_comes_after_those_that_it_waits_for(job: Callable[..., Job], world: World) -> None:
    job(after=("b",))()
    assert tasks(world) == ["sid", "ks"]


def test_a_group_that_jobs_die_over_is_given_up(job: Callable[..., Job], world: World, tmp_path: Path) -> None:
    (tmp_path / "a.tried").write_text("." * MOST_TRIES)
    job(after=())()
    assert tasks(world) == ["sid"]
    job(after=())()
    assert (tmp_path / "b.done").exists()
    assert not (tmp_path / "a.done").exists()


def test_a_job_with_one_group_comes_back_as_often_as_slurm_starts_it(
    job: Callable[..., Job], world: World, tmp_path: Path
) -> None:
    """Preempted without a word: SLURM kills it and puts it back into the queue."""
    (tmp_path / "a.tried").write_text("." * 9)
    job(groups=job().groups[:1])()
    assert tasks(world) == ["ks"]


def test_a_group_that_fails_takes_no_other_with_it(
    job: Callable[..., Job], world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    n_loaded = 0

    def load(request: UpstreamRequest) -> Evaluated:
        nonlocal n_loaded
        n_loaded += 1
        if n_loaded == 1:
            raise OSError("the disk is not mounted")
        return world(request)

    with pytest.raises(SkillBenchError, match=r"a: .*the disk is not mounted"):
        job(load=load)()
    assert tasks(world) == ["sid"]
    assert "Traceback" in capsys.readouterr().err


def test_a_job_without_its_gpu_says_so_and_leaves_groups_to_others(
    job: Callable[..., Job], plan: Plan, world: World, tmp_path: Path
) -> None:
    on_gpu = [replace(group, plan=replace(group.plan, device="cuda")) for group in job().groups]
    with pytest.raises(SkillBenchError, match=r"cuda: torch sees no GPU in this job\. Check --gpus-per-job and the"):
        job(groups=tuple(on_gpu))()
    assert not list(tmp_path.glob("*.tried"))
    job()()
    assert tasks(world) == ["ks", "sid"]


def test_records_name_the_users_command(job: Callable[..., Job], plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    from skill_bench.records.record import Record

    monkeypatch.setattr("sys.argv", ["submitit"])
    job()()
    record = Record.read(plan.out_dir / "demo/one/ks-s0.json")
    assert record.provenance.command_line == ("skill-bench", "run")


def test_a_job_that_has_to_leave_is_started_again(job: Callable[..., Job], tmp_path: Path) -> None:
    """Preempted at once, without having finished anything, it has done nothing wrong."""
    pytest.importorskip("submitit")
    leaving = job()
    (tmp_path / "a.tried").write_text(".")
    again = leaving.checkpoint()
    assert again is not None
    assert again.function == job()
    assert not (tmp_path / "a.tried").exists(), "it has not died over its group"


def test_a_job_that_is_out_of_time_is_started_again_if_it_came_further(
    job: Callable[..., Job], plan: Plan, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("submitit")
    comes_back = []

    def load(request: UpstreamRequest) -> Evaluated:
        comes_back.append(running.checkpoint() is not None)
        return world(request)

    running = job(seconds=0.0, load=load)
    assert running.checkpoint() is None
    running()
    assert tasks(world) == ["ks", "sid"]
    assert comes_back == [False, True], "before its first cell, and after it"
    assert "no cell was finished in 0 s: not started again. Give it more --time." in capsys.readouterr().out


def test_what_others_finish_is_no_progress_of_a_job(job: Callable[..., Job], plan: Plan, world: World) -> None:
    comes_back = []

    def load(request: UpstreamRequest) -> Evaluated:
        for task in ("sid", "er"):  # of another group of the launch, and of another launch
            record = plan.out_dir / f"demo/one/{task}-s0.json"
            record.parent.mkdir(parents=True, exist_ok=True)
            record.touch()
        comes_back.append(stuck.checkpoint() is not None)
        return world(request)

    stuck = job(seconds=0.0, load=load)
    stuck = replace(stuck, groups=stuck.groups[:1])
    stuck()
    assert comes_back == [False]


@pytest.mark.parametrize(("ran_seconds", "comes_back"), [(3000, True), (3600, False)])
def test_a_job_that_is_preempted_late_is_not_out_of_time(
    ran_seconds: int, comes_back: bool, job: Callable[..., Job], capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("submitit")
    leaving = job(seconds=3600.0)
    leaving._began -= ran_seconds
    assert (leaving.checkpoint() is not None) is comes_back
    assert ("no cell was finished in 3600 s" in capsys.readouterr().out) is not comes_back


def test_features_alone_are_left_in_the_cache(job: Callable[..., Job], plan: Plan, world: World) -> None:
    part = replace(plan, upstreams=plan.upstreams[:1], tasks=["ks"], profile=False)
    job(groups=(Group(name="a", plan=part, does="features"),))()
    assert world.begun() == []
    assert list((plan.cache_dir / "features").rglob("*.safetensors"))
    assert not plan.out_dir.exists()


@given(work=work_lists, n_at_once=st.integers(1, 9))
def test_every_piece_is_in_one_group_of_its_owner(work: list[Work], n_at_once: int) -> None:
    groups = grouped(work, n_at_once=n_at_once)
    assert Counter(one for group in groups for one in group) == Counter(work)
    assert all(len({one.owner for one in group}) == 1 for group in groups)
    known = [one.seconds for one in work if one.seconds is not None]
    mean = sum(known) / len(known) if known else 1.0
    lengths = [sum(mean if one.seconds is None else one.seconds for one in group) for group in groups]
    assert lengths == sorted(lengths, reverse=True)


def test_a_long_task_is_alone_and_the_short_ones_share() -> None:
    seconds = {"asr": 100.0, "sd": 50.0, "ks": 10.0, "er": 20.0, "sid": 20.0}
    work = [Work(owner=(0, (0,)), task=task, seconds=found) for task, found in seconds.items()]
    assert [[one.task for one in group] for group in grouped(work, n_at_once=2)] == [
        ["asr"], ["sd"], ["er", "ks"], ["sid"],
    ]  # fmt: skip
    unknown = [replace(one, seconds=None) for one in work]
    assert [len(group) for group in grouped(unknown, n_at_once=1)] == [3, 2]


@pytest.fixture
def phones(plan: Plan) -> Plan:
    return replace(plan, tasks=["ks", "pr"])


@pytest.fixture
def missing(phones: Plan, tmp_path: Path) -> list[Missing]:
    """All cells of two upstreams, but a seed of one."""
    cases = [
        TaskCase(load_task("ks").for_suite("demo"), class_data(tmp_path / "ks")),
        TaskCase(load_task("pr").for_suite("demo"), sequence_data(tmp_path / "pr", task="pr")),
    ]
    found = [
        Missing(upstream=number, case=case, cell=cell)
        for number, request in enumerate(phones.upstreams)
        for case in cases
        for cell in case.cells(Evaluated(request.name), phones)
    ]
    return found[1:]


def test_groups_ask_for_the_missing_seeds_and_no_others(phones: Plan, missing: list[Missing]) -> None:
    options = LaunchOptions(launcher="local", max_jobs=1)
    groups = share(missing, phones.upstreams, plan=phones, options=options, seconds={}, alone=False, prefix="0-")
    asked = [(g.plan.upstreams[0].name, list(g.plan.tasks), list(g.plan.seeds), g.plan.profile) for g in groups[:-1]]
    assert sorted(asked) == [
        ("one", ["ks"], [1], False), ("one", ["pr"], [0, 1], False), ("two", ["ks", "pr"], [0, 1], False),
    ]  # fmt: skip
    records = [path for group in groups for path in group.records]
    assert sorted(records) == sorted(one.cell.path for one in missing)
    assert {path.parent.name: group.plan.upstreams[0].name for group in groups for path in group.records} == {
        "one": "one", "two": "two",
    }  # fmt: skip
    last = groups[-1]
    assert (last.does, last.plan.upstreams, list(last.plan.tasks)) == ("profile", phones.upstreams, [])
    assert last.after == tuple(group.name for group in groups[:-1]), "measured where nothing disturbs it"
    counted = replace(phones, profile="counted")
    groups = share(missing, [], plan=counted, options=options, seconds={}, alone=True, prefix="1-")
    assert [(len(group.plan.tasks), group.plan.profile) for group in groups] == [(1, "counted")] * 4


@pytest.mark.parametrize("device", ["cpu", "cuda", "cuda:1"])
def test_probes_that_need_no_gpu_follow_the_extraction_of_their_features(
    device: str, phones: Plan, missing: list[Missing]
) -> None:
    options = LaunchOptions(launcher="slurm", gpus_per_job=1, cpu_partition="cpu", max_jobs=2)
    plan = replace(phones, device=device)
    groups = share(missing, [], plan=plan, options=options, seconds={}, alone=False, prefix="")
    found = [(g.does, g.plan.upstreams[0].name, list(g.plan.tasks), g.plan.device, g.on_gpu, g.after) for g in groups]
    extraction = ("0", "1")
    assert found == [
        ("features", "one", ["ks"], "cuda", True, ()),
        ("features", "two", ["ks"], "cuda", True, ()),
        ("cells", "one", ["pr"], "cuda", True, ()),
        ("cells", "two", ["pr"], "cuda", True, ()),
        ("cells", "one", ["ks"], "cpu", False, extraction),
        ("cells", "two", ["ks"], "cpu", False, extraction),
    ]
