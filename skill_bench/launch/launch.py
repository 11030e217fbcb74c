"""An evaluation as jobs: what is missing is shared out, submitted, followed, and made up for where a job was lost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import torch

from skill_bench.base.errors import RecordError, SkillBenchError, UsageError
from skill_bench.base.progress import Progress, Silent
from skill_bench.evaluation.cell_record import EvaluatedUpstream
from skill_bench.evaluation.cells import Outcome
from skill_bench.evaluation.evaluate import Load, TaskCase, load_request, not_loaded, prepare
from skill_bench.evaluation.forecast import forecast_of
from skill_bench.evaluation.plan import Plan, UpstreamRequest
from skill_bench.launch.engine import Jobs
from skill_bench.launch.follow import Follower
from skill_bench.launch.local import Local
from skill_bench.launch.options import Launcher, LaunchOptions
from skill_bench.launch.share import Missing
from skill_bench.launch.slurm import Slurm
from skill_bench.records.profile import find_profile

ENGINES: Mapping[Launcher, Callable[[LaunchOptions], Jobs]] = {"local": Local, "slurm": Slurm}


def in_jobs(
    plan: Plan, options: LaunchOptions, *, progress: Progress | None = None, load: Load | None = None
) -> Outcome:
    """What `skill_bench.evaluation.evaluate.evaluate` does, in jobs; with ``options.detach`` it does not wait for them.

    Data and upstreams are looked at here first: what is wrong with them is said at once, and no job waits for it.

    Args:
        plan: What to run.
        options: In which jobs.
        progress: Receives one stage over the cells that are missing.
        load: As for `evaluate`; jobs get it too.

    Raises:
        UsageError: the plan cannot be carried out, or not in such jobs.
        SkillBenchError: SLURM does not answer, or does not take the jobs.
    """
    progress, jobs = progress or Silent(), engine_of(options, device=plan.device)
    plan = _absolute(plan)
    tasks = prepare(plan, progress=progress, load=load or load_request)
    outcome, missing, unmeasured = Outcome(), list[Missing](), list[UpstreamRequest]()
    seconds: dict[tuple[int, str], float] = {}
    for number, request in enumerate(plan.upstreams):
        try:
            upstream = (load or load_request)(request)
            if plan.profile == "timed" and _needs_profile(upstream, plan):
                unmeasured.append(request)
        except Exception as error:  # whatever is wrong with one upstream, the others have their run
            outcome.failed(not_loaded(request, error), progress)
            continue
        seconds |= {(number, task): found for task, found in _forecast(upstream, plan).items()}
        for case in tasks:
            missing += _missing(number, upstream, case, plan, outcome, progress)
    if missing or unmeasured:
        Follower(plan=plan, options=options, jobs=jobs, seconds=seconds, load=load, progress=progress).run(
            missing, unmeasured, outcome
        )
    return outcome


def engine_of(options: LaunchOptions, *, device: str) -> Jobs:
    """Who runs such jobs.

    Args:
        options: What they ask for.
        device: Where the command that starts them computes.

    Raises:
        UsageError: there is nobody, or jobs of this machine would have no such device.
        SkillBenchError: SLURM does not answer.
    """
    jobs = ENGINES[options.launcher](options)
    jobs.require_hope()
    if options.launcher == "local" and device != "cpu" and not options.gpus_per_job:
        raise UsageError(
            f"--device {device}: jobs of this machine have no GPU unless they ask for one. Add --gpus-per-job 1, or "
            "give --devices cuda:0,cuda:1 alone."
        )
    return jobs


def _missing(
    number: int, upstream: EvaluatedUpstream, case: TaskCase, plan: Plan, outcome: Outcome, progress: Progress
) -> list[Missing]:
    found = []
    for cell in case.cells(upstream, plan):
        try:
            if isinstance(case.data, SkillBenchError):
                raise case.data
            if not outcome.take_in(cell, progress):
                found.append(Missing(upstream=number, case=case, cell=cell))
        except (SkillBenchError, OSError) as error:
            outcome.failed(cell.failed(error), progress)
    return found


def _absolute(plan: Plan) -> Plan:
    """Jobs may begin in another folder."""

    def at(path: Path | None) -> Path | None:
        return None if path is None else path.absolute()

    upstreams = [replace(request, ckpt=at(request.ckpt)) for request in plan.upstreams]
    return replace(
        plan,
        upstreams=upstreams,
        out_dir=plan.out_dir.absolute(),
        cache_dir=plan.cache_dir.absolute(),
        data_root=at(plan.data_root),
        suite_file=at(plan.suite_file),
    )


def _needs_profile(upstream: EvaluatedUpstream, plan: Plan) -> bool:
    if not isinstance(upstream, torch.nn.Module):
        return False
    return find_profile(plan.out_dir, plan.suite, upstream.system(), timed=plan.profile == "timed") is None


def _forecast(upstream: EvaluatedUpstream, plan: Plan) -> dict[str, float]:
    """Seconds of a cell by task, where `skill-bench plan run` has said."""
    try:
        found = forecast_of(plan, upstream=upstream.name, identity=upstream.identity)
    except RecordError:
        found = None  # records leave it out too, and say so
    return {} if found is None else {task.task: sum(found.of_task(task.task).values()) for task in found.tasks}
