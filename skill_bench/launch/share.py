"""What is missing, as groups for jobs: tasks of one upstream, which a job loads once, of about equal length."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from skill_bench.corpora.data import TaskData
from skill_bench.evaluation.cell_record import CellRecord
from skill_bench.evaluation.evaluate import TaskCase
from skill_bench.evaluation.plan import Plan, UpstreamRequest
from skill_bench.evaluation.solve import requests
from skill_bench.launch.job import Group
from skill_bench.launch.options import LaunchOptions

GROUPS_PER_JOB = 2
"""Of those that run at a time: few, since each loads an upstream, and more than one, to even out the end."""

Owner = tuple[int, tuple[int, ...]]
"""An upstream's place in the plan, and seeds."""


@dataclass(frozen=True, kw_only=True)
class Missing:
    """A cell without a record, with its task, and its upstream's place in the plan."""

    upstream: int
    case: TaskCase
    cell: CellRecord


def share(
    missing: Sequence[Missing],
    unmeasured: Sequence[UpstreamRequest],
    *,
    plan: Plan,
    options: LaunchOptions,
    seconds: Mapping[tuple[int, str], float],
    alone: bool,
    prefix: str,
) -> list[Group]:
    """The groups, those that others wait for first.

    Args:
        missing: Cells to be run.
        unmeasured: Upstreams whose profile is to be measured once all cells are done, so that nothing disturbs it.
        plan: Of all of them.
        options: How many jobs run at a time, and where.
        seconds: Of a cell, by upstream and task, where anybody has said.
        alone: Each task in a group of its own, so that one that kills its job takes no other with it.
        prefix: Of the groups' names.
    """
    # A job sees the GPUs that it asked for and no others, under numbers of its own.
    on_gpu = replace(plan, device="cuda") if options.gpus_per_job else plan
    split = options.cpu_partition is not None
    light = {one.case.task.name for one in missing if split and _is_light(one.case)}
    heavy, rest = ([one for one in missing if (one.case.task.name in light) is found] for found in (False, True))
    groups: list[Group] = []

    def add(plan: Plan, upstream: int, tasks: Sequence[str], **more: Any) -> None:
        part = replace(plan, upstreams=[plan.upstreams[upstream]], tasks=tasks, profile=_during(plan))
        groups.append(Group(name=f"{prefix}{len(groups)}", plan=part, **more))

    for upstream in dict.fromkeys(one.upstream for one in missing):
        own = dict.fromkeys(one.case.task.name for one in missing if one.upstream == upstream)
        if tasks := [task for task in own if task in light]:
            add(on_gpu, upstream, tasks, does="features")
    after = tuple(group.name for group in groups)
    for some, of, where in ((heavy, on_gpu, True), (rest, replace(plan, device="cpu"), False)):
        for (upstream, seeds), tasks in _divided(some, options=options, seconds=seconds, alone=alone):
            cells = [one.cell for one in some if one.upstream == upstream and one.case.task.name in tasks]
            add(
                replace(of, seeds=seeds), upstream, tasks, on_gpu=where, after=() if where else after,
                records=tuple(cell.path for cell in cells),
            )  # fmt: skip
    if unmeasured:
        whole = replace(on_gpu, upstreams=unmeasured, tasks=[], profile="timed")
        names = tuple(group.name for group in groups)
        groups.append(Group(name=f"{prefix}profile", plan=whole, does="profile", after=names))
    return groups


def _divided(
    missing: Sequence[Missing], *, options: LaunchOptions, seconds: Mapping[tuple[int, str], float], alone: bool
) -> list[tuple[tuple[int, tuple[int, ...]], list[str]]]:
    """Upstream, seeds and tasks of each group; the seeds of a task run together."""
    seeds: dict[tuple[int, str], list[int]] = {}
    for one in missing:
        seeds.setdefault((one.upstream, one.case.task.name), []).append(one.cell.key.seed)
    work = []
    for (upstream, task), own in seeds.items():
        each = seconds.get((upstream, task))
        total = None if each is None else each * len(own)
        work.append(Work(owner=(upstream, tuple(own)), task=task, seconds=total))
    found = [[one] for one in work] if alone else grouped(work, n_at_once=options.max_jobs)
    return [(group[0].owner, [one.task for one in group]) for group in found]


def _is_light(case: TaskCase) -> bool:
    """Whether its heads are trained on means over time, in seconds on a CPU, or nothing is trained."""
    if not isinstance(case.data, TaskData):
        return False
    return case.task.protocol.steps == 0 or all(asked.pooled for asked in requests(case.task, case.data))


def _during(plan: Plan) -> Literal["counted", False]:
    """What the cells' jobs measure of the upstream: nothing that other work would disturb."""
    return "counted" if plan.profile == "counted" else False


@dataclass(frozen=True, kw_only=True)
class Work:
    """The missing cells of one task, which run together. ``seconds`` None: nobody knows."""

    owner: Owner
    task: str
    seconds: float | None = None


def grouped(work: Sequence[Work], *, n_at_once: int) -> list[list[Work]]:
    """The groups, longest first, and in each the longest first; all of a group have one owner.

    Each owner's work is shared out to as many groups as its part of the whole deserves, the longest first, always to
    the group that has least. What nobody knows the length of counts as the mean of the others.
    """
    known = [one.seconds for one in work if one.seconds is not None]
    mean = sum(known) / len(known) if known else 1.0

    def seconds(some: Iterable[Work]) -> float:
        return sum(mean if one.seconds is None else one.seconds for one in some)

    largest = seconds(work) / (GROUPS_PER_JOB * n_at_once) or 1.0
    groups: list[list[Work]] = []
    for owner in dict.fromkeys(one.owner for one in work):
        own = sorted((one for one in work if one.owner == owner), key=lambda one: -seconds([one]))
        n = min(len(own), max(1, math.ceil(seconds(own) / largest)))
        bins: list[list[Work]] = [[] for _ in range(n)]
        for one in own:
            min(bins, key=seconds).append(one)
        groups += filter(None, bins)
    return sorted(groups, key=seconds, reverse=True)
