"""All cells of a run: upstreams x tasks x seeds, one record each, finished ones skipped, failed ones reported.

Seeds of a task run together. Killed at any instant it loses the cells that were running and nothing else; the same
call goes on after the finished cells.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

import torch

from skill_bench.base import catalog
from skill_bench.base.errors import DataError, SkillBenchError, UsageError
from skill_bench.base.progress import Advance, Progress, Silent
from skill_bench.base.provenance import collect, now
from skill_bench.base.system_errors import explained
from skill_bench.base.unfinished import remove_leftovers
from skill_bench.corpora.data import TaskData
from skill_bench.corpora.load import load_task_data
from skill_bench.evaluation import kinds
from skill_bench.evaluation.cell_record import CellRecord, EvaluatedUpstream, FailedCell
from skill_bench.evaluation.cell_result import CellResult, run_cells
from skill_bench.evaluation.costs import ensure_profile
from skill_bench.evaluation.forecast import Forecast
from skill_bench.evaluation.plan import Plan, UpstreamRequest
from skill_bench.evaluation.probe import PROBE_LIMIT, Prober, peak_memory_bytes
from skill_bench.evaluation.solve import requests
from skill_bench.evaluation.task_files import load_task
from skill_bench.features.extract import require_memory
from skill_bench.records.record import Record, safe_name
from skill_bench.tasks import TaskSpec

if TYPE_CHECKING:
    from skill_bench.upstream.interface import Upstream

AnyUpstream = TypeVar("AnyUpstream")
_log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Outcome:
    """What a run left behind.

    Attributes:
        records: Finished records, measured now or found.
        n_skipped: How many of them were there before.
        failures: Cells without a result.
    """

    records: list[Record] = field(default_factory=list)
    n_skipped: int = 0
    failures: list[FailedCell] = field(default_factory=list)


def evaluate(
    plan: Plan,
    *,
    progress: Progress | None = None,
    load: Callable[[UpstreamRequest], EvaluatedUpstream] | None = None,
) -> Outcome:
    """Runs every cell of ``plan`` without a finished record of the same experiment; measures models without a profile.

    Args:
        plan: What to run.
        progress: Receives one stage over all cells, and stages within each.
        load: Loads an upstream; `skill_bench.upstream.load.load_upstream` unless a caller has another way.

    Raises:
        UsageError: the plan itself cannot be carried out (unknown names, a missing data folder, a faulty TOML file).
    """
    progress, load = progress or Silent(), load or load_request
    if repeated := {seed for seed in plan.seeds if plan.seeds.count(seed) > 1}:
        raise UsageError(f"seeds {sorted(repeated)} are given more than once. Give each seed once.")
    tasks = [load_task(name).for_suite(plan.suite, protocol=plan.protocol) for name in plan.tasks]
    if load is load_request:
        _require_known(plan)
    outcome = Outcome()
    _remove_leftovers(plan)
    loaded = {task.name: _load_data(task, plan) for task in tasks}
    _show_notes(loaded, progress)
    # What cannot be used is said before anything is trained.
    tasks.sort(key=lambda task: isinstance(loaded[task.name], TaskData))
    per_upstream = len(tasks) * len(plan.seeds)
    with progress.stage("cells", total=len(plan.upstreams) * per_upstream) as advance:
        for request in plan.upstreams:
            try:
                upstream = _on(load(request), plan.device)
                if plan.profile == "counted":
                    _ensure_profile(upstream, request, load, plan, outcome, progress)
            except Exception as error:  # whatever is wrong with one upstream, the others have their run
                _report(outcome, _not_loaded(request, error), progress)
                advance(per_upstream)
                continue
            too_long = {task.name: _too_long(upstream, task, loaded[task.name], plan) for task in tasks}
            for task in sorted(tasks, key=lambda task: too_long[task.name] is None):
                _cells(
                    upstream,
                    task,
                    loaded[task.name],
                    problem=too_long[task.name],
                    plan=plan,
                    outcome=outcome,
                    progress=progress,
                    advance=advance,
                )
    if plan.profile == "timed":
        for request in plan.upstreams:
            try:
                upstream = _on(load(request), plan.device)
            except Exception:
                continue  # its cells have said why
            _ensure_profile(upstream, request, load, plan, outcome, progress)
    return outcome


def _require_known(plan: Plan) -> None:
    """What is wrong with the plan itself is found before anything is loaded."""
    from skill_bench.upstream.hub import PREFIX

    for request in plan.upstreams:
        if not request.name.startswith(PREFIX):
            catalog.upstream(request.name)


def _not_loaded(request: UpstreamRequest, error: Exception) -> FailedCell:
    if not isinstance(error, SkillBenchError):
        _log.error("%s", request.name, exc_info=error)
    said = str(error) if isinstance(error, SkillBenchError) else explained(error)
    text = said or f"{type(error).__name__}: {error}"
    return FailedCell(upstream=request.name, task=None, seed=None, error=text, is_usage=isinstance(error, UsageError))


def _remove_leftovers(plan: Plan) -> None:
    """Only where such runs write: both folders may hold what is none of their business."""
    remove_leftovers(plan.out_dir / safe_name(plan.suite))
    remove_leftovers(plan.cache_dir, below=False)
    remove_leftovers(plan.cache_dir / "features")


def _ensure_profile(
    upstream: EvaluatedUpstream,
    request: UpstreamRequest,
    load: Callable[[UpstreamRequest], EvaluatedUpstream],
    plan: Plan,
    outcome: Outcome,
    progress: Progress,
) -> None:
    """One that cannot be kept costs no cell."""
    try:
        ensure_profile(
            upstream,
            load=lambda: _on(load(request), plan.device),
            out_dir=plan.out_dir,
            suite=plan.suite,
            timed=plan.profile == "timed",
            called=request.name,
            progress=progress,
        )
    except OSError as error:
        failure = FailedCell(upstream=request.name, task="profile", seed=None, error=explained(error) or str(error))
        _report(outcome, failure, progress)


def forecast(plan: Plan, *, progress: Progress | None = None) -> list[Forecast]:
    """What ``plan`` will take, one forecast an upstream, written beside its records.

    Raises:
        SkillBenchError: the plan cannot be carried out: unknown names, missing data, an unreadable checkpoint.
    """
    progress = progress or Silent()
    tasks = [load_task(name).for_suite(plan.suite, protocol=plan.protocol) for name in plan.tasks]
    few = replace(plan, limit=min(plan.limit or PROBE_LIMIT, PROBE_LIMIT))
    found = []
    for request in plan.upstreams:
        started_at, upstream = now(), _on(load_request(request), plan.device)
        prober = Prober(
            upstream=upstream,
            seeds=tuple(plan.seeds),
            cache_dir=plan.cache_dir,
            device=torch.device(plan.device),
            progress=progress,
        )
        of_tasks = []
        for task in tasks:
            data = [_load_data(task, given) for given in (plan, few)]
            for one in data:
                if isinstance(one, SkillBenchError):
                    raise one
            of_tasks.append(prober.probe(task, *data))  # type: ignore[arg-type]
        made = Forecast(
            upstream=upstream.name,
            identity=upstream.identity,
            suite=plan.suite,
            protocol=plan.protocol,
            seeds=tuple(plan.seeds),
            tasks=tuple(of_tasks),
            peak_memory_bytes=peak_memory_bytes(of_tasks),
            provenance=collect(started_at=started_at),
        )
        try:
            made.write(made.path(plan.out_dir))
        except OSError as error:  # records will not hold it, but it was asked for to be read
            progress.note(f"the forecast of {upstream.name} is not kept: {explained(error)}")
        found.append(made)
    return found


def load_request(request: UpstreamRequest) -> Upstream:
    """The model that is asked for."""
    from skill_bench.upstream.load import load_upstream

    return load_upstream(request.name, request.ckpt)


def _on(upstream: AnyUpstream, device: str) -> AnyUpstream:
    """Features are extracted where the heads are trained; what is no torch module decides for itself."""
    return upstream.to(device) if isinstance(upstream, torch.nn.Module) else upstream


def _load_data(task: TaskSpec, plan: Plan) -> TaskData | SkillBenchError:
    """The task's data, or the error that each of its cells will record."""
    try:
        data = load_task_data(
            plan.suite,
            task.name,
            data_root=plan.data_root,
            limit=plan.limit,
            cache_dir=plan.cache_dir,
            suite_file=plan.suite_file,
        )
        kinds.load(task.kind).check(task, data)
        return data
    except UsageError:
        raise
    except SkillBenchError as error:
        return error
    except OSError as error:  # what is rendered, unpacked or listed in the cache
        return DataError(f"{plan.suite}, {task.name}: {explained(error)}")


def _too_long(
    upstream: EvaluatedUpstream, task: TaskSpec, data: TaskData | SkillBenchError, plan: Plan
) -> SkillBenchError | None:
    """What extraction would say of a recording that needs more memory than there is, before anything is extracted."""
    if isinstance(data, SkillBenchError):
        return None
    try:
        for asked in requests(task, data):
            require_memory(
                upstream,
                asked.utterances,
                pooled=asked.pooled,
                cache_dir=plan.cache_dir,
                max_seconds=asked.max_seconds,
            )
    except SkillBenchError as error:
        return error
    return None


def _show_notes(loaded: Mapping[str, TaskData | SkillBenchError], progress: Progress) -> None:
    """Each note once, with the tasks whose data it is about."""
    about: dict[str, list[str]] = {}
    for name, data in loaded.items():
        for note in data.notes if isinstance(data, TaskData) else ():
            about.setdefault(note, []).append(name)
    for note, names in about.items():
        progress.note(f"{', '.join(names)}: {note}")


def _cells(
    upstream: EvaluatedUpstream,
    task: TaskSpec,
    data: TaskData | SkillBenchError,
    *,
    problem: SkillBenchError | None,
    plan: Plan,
    outcome: Outcome,
    progress: Progress,
    advance: Advance,
) -> None:
    """Runs the cells of all seeds, or finds their records; whatever happens is in ``outcome`` and on disk.

    A ``problem`` of this upstream with this data is what those that are missing fail for.
    """
    cells = [CellRecord(upstream, task, data, seed, plan=plan, started_at=now()) for seed in plan.seeds]
    missing = []
    for cell in cells:
        try:
            found = cell.finished()
        except (SkillBenchError, OSError) as error:
            _report(outcome, cell.failed(error), progress)
            advance(1)
            continue
        if found is None:
            missing.append(cell)
            continue
        outcome.records.append(found)
        outcome.n_skipped += 1
        advance(1)
    seeds = tuple(cell.key.seed for cell in missing)
    results = _results(upstream, task, problem or data, seeds, plan=plan, progress=progress)
    stopped: Exception | None = None
    for cell in missing:
        try:
            if stopped is not None:
                raise stopped
            try:
                result = next(results)
            except Exception as error:  # what stops the computation stops it for the seeds that are still to come
                stopped = error
                raise
            outcome.records.append(cell.save(result))
        except Exception as error:  # one cell's failure must not take the others with it
            _report(outcome, cell.failed(error), progress)
        advance(1)


def _results(
    upstream: EvaluatedUpstream,
    task: TaskSpec,
    data: TaskData | SkillBenchError,
    seeds: tuple[int, ...],
    *,
    plan: Plan,
    progress: Progress,
) -> Iterator[CellResult]:
    if isinstance(data, SkillBenchError):
        raise data
    yield from run_cells(
        upstream,
        task,
        data,
        seeds=seeds,
        cache_dir=plan.cache_dir,
        cache_limit_bytes=plan.cache_limit_bytes,
        progress=progress,
        device=plan.device,
    )


def _report(outcome: Outcome, failure: FailedCell, progress: Progress) -> None:
    outcome.failures.append(failure)
    progress.note(f"failed: {failure.name}: {failure.error}")
