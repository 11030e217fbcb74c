"""How work is shared out: nothing is lost or doubled, a group has one upstream, the longest comes first."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from fake_speech import class_data, sequence_data
from hypothesis import given
from hypothesis import strategies as st
from job_world import Evaluated

from skill_bench.evaluation.evaluate import TaskCase
from skill_bench.evaluation.plan import Plan, UpstreamRequest
from skill_bench.evaluation.task_files import load_task
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
def plan(tmp_path: Path) -> Plan:
    return Plan(
        upstreams=[UpstreamRequest(name="one"), UpstreamRequest(name="two")],
        suite="demo",
        tasks=["ks", "pr"],
        seeds=[0, 1],
        out_dir=tmp_path / "out",
        cache_dir=tmp_path / "cache",
    )


@pytest.fixture
def missing(plan: Plan, tmp_path: Path) -> list[Missing]:
    """All cells of two upstreams, but a seed of one."""
    cases = [
        TaskCase(load_task("ks").for_suite("demo"), class_data(tmp_path / "ks")),
        TaskCase(load_task("pr").for_suite("demo"), sequence_data(tmp_path / "pr", task="pr")),
    ]
    found = [
        Missing(upstream=number, case=case, cell=cell)
        for number, request in enumerate(plan.upstreams)
        for case in cases
        for cell in case.cells(Evaluated(request.name), plan)
    ]
    return found[1:]


def test_groups_ask_for_the_missing_seeds_and_no_others(plan: Plan, missing: list[Missing]) -> None:
    options = LaunchOptions(launcher="local", max_jobs=1)
    groups = share(missing, plan.upstreams, plan=plan, options=options, seconds={}, alone=False, prefix="0-")
    asked = [(g.plan.upstreams[0].name, list(g.plan.tasks), list(g.plan.seeds), g.plan.profile) for g in groups[:-1]]
    assert sorted(asked) == [
        ("one", ["ks"], [1], False), ("one", ["pr"], [0, 1], False), ("two", ["ks", "pr"], [0, 1], False),
    ]  # fmt: skip
    last = groups[-1]
    assert (last.does, last.plan.upstreams, list(last.plan.tasks)) == ("profile", plan.upstreams, [])
    assert last.after == tuple(group.name for group in groups[:-1]), "measured where nothing disturbs it"
    counted = replace(plan, profile="counted")
    groups = share(missing, [], plan=counted, options=options, seconds={}, alone=True, prefix="1-")
    assert [(len(group.plan.tasks), group.plan.profile) for group in groups] == [(1, "counted")] * 4


def test_probes_that_need_no_gpu_follow_the_extraction_of_their_features(plan: Plan, missing: list[Missing]) -> None:
    options = LaunchOptions(launcher="slurm", gpus_per_job=1, cpu_partition="cpu", max_jobs=2)
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
