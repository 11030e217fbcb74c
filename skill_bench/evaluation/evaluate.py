"""All cells of a run: upstreams x tasks x seeds, one record each, finished ones skipped, failed ones reported.

Seeds of a task run together. Killed at any instant it loses the cells that were running and nothing else; the same
call goes on after the finished cells. Several processes share a run: `skill_bench.evaluation.cells`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import torch

from skill_bench.base import catalog
from skill_bench.base.documents import LARGEST_INTEGER
from skill_bench.base.errors import DataError, SkillBenchError, UsageError, explained
from skill_bench.base.progress import Progress, Silent
from skill_bench.base.provenance import collect, now
from skill_bench.base.unfinished import remove_leftovers
from skill_bench.corpora.data import TaskData
from skill_bench.corpora.load import load_task_data
from skill_bench.evaluation import kinds
from skill_bench.evaluation.cell_record import CellRecord, EvaluatedUpstream, FailedCell
from skill_bench.evaluation.cell_result import CellResult, run_cells
from skill_bench.evaluation.cells import Cells, Outcome, wait_for
from skill_bench.evaluation.costs import ensure_profile
from skill_bench.evaluation.forecast import Forecast
from skill_bench.evaluation.plan import Plan, UpstreamRequest
from skill_bench.evaluation.probe import PROBE_LIMIT, Prober, peak_memory_bytes
from skill_bench.evaluation.solve import requests
from skill_bench.evaluation.task_files import load_task
from skill_bench.features.extract import extract, require_memory
from skill_bench.features.stored import root_in
from skill_bench.records.record import safe_name
from skill_bench.tasks import TaskSpec

if TYPE_CHECKING:
    from skill_bench.upstream.interface import Upstream

__all__ = ["Outcome", "evaluate", "extract_features", "forecast", "load_request", "not_loaded", "prepare"]

AnyUpstream = TypeVar("AnyUpstream")
Load = Callable[[UpstreamRequest], EvaluatedUpstream]
_log = logging.getLogger(__name__)


def evaluate(
    plan: Plan,
    *,
    progress: Progress | None = None,
    load: Load | None = None,
    wait: bool = True,
) -> Outcome:
    """Runs every cell of ``plan`` without a finished record of the same experiment; measures models without a profile.

    Processes with the same folders share the work: each claims the cells that it runs.

    Args:
        plan: What to run.
        progress: Receives one stage over all cells, and stages within each.
        load: Loads an upstream; `skill_bench.upstream.load.load_upstream` unless a caller has another way.
        wait: For the cells that other processes are at, to run what one of them dies over; else they are left out.

    Raises:
        UsageError: the plan itself cannot be carried out (unknown names, a missing data folder, a faulty TOML file).
    """
    progress, load = progress or Silent(), load or load_request
    tasks = prepare(plan, progress=progress, load=load)
    outcome = Outcome()
    held: list[Cells] = []
    loaded: list[UpstreamRequest] = []
    per_upstream = len(tasks) * len(plan.seeds)
    with progress.stage("cells", total=len(plan.upstreams) * per_upstream) as advance:
        for request in plan.upstreams:
            model = _Model(request, load=load, device=plan.device)
            try:
                model()
            except Exception as error:  # whatever is wrong with one upstream, the others have their run
                outcome.failed(not_loaded(request, error), progress)
                advance(per_upstream)
                continue
            loaded.append(request)
            if plan.profile == "counted":
                _ensure_profile(model, request, load, plan, outcome, progress)
            for cells in _cells(model, tasks, plan=plan, progress=progress):
                left = cells.run(outcome, progress=progress, advance=advance)
                if left.cells:
                    held.append(left)
            model.forget()
        if wait:
            wait_for(held, outcome, progress=progress, advance=advance)
    if plan.profile == "timed":
        for request in loaded:
            model = _Model(request, load=load, device=plan.device)
            _ensure_profile(model, request, load, plan, outcome, progress)
    return outcome


def prepare(plan: Plan, *, progress: Progress, load: Load) -> list[TaskCase]:
    """The tasks of ``plan`` with their data; those that cannot be used come first, to be said before training.

    Raises:
        UsageError: as :func:`evaluate`.
    """
    if repeated := {seed for seed in plan.seeds if plan.seeds.count(seed) > 1}:
        raise UsageError(f"seeds {sorted(repeated)} are given more than once. Give each seed once.")
    if large := [n for n in (*plan.seeds, plan.limit or 0) if not 0 <= n < LARGEST_INTEGER]:
        raise UsageError(f"{large[0]} as a seed or limit: records hold whole numbers from 0 to {LARGEST_INTEGER - 1}.")
    tasks = [load_task(name).for_suite(plan.suite, protocol=plan.protocol) for name in plan.tasks]
    if load is load_request:
        _require_known(plan)
    _remove_leftovers(plan)
    found = [TaskCase(task, _load_data(task, plan)) for task in tasks]
    _show_notes(found, progress)
    return sorted(found, key=lambda case: isinstance(case.data, TaskData))


class TaskCase(NamedTuple):
    """A task and its data, or the error that each of its cells will record."""

    task: TaskSpec
    data: TaskData | SkillBenchError

    def cells(self, upstream: EvaluatedUpstream, plan: Plan) -> list[CellRecord]:
        """One a seed."""
        return [CellRecord(upstream, self.task, self.data, seed, plan=plan) for seed in plan.seeds]


class _Model:
    """An upstream that is loaded when it is asked for: for what another process dies over it may be again."""

    def __init__(self, request: UpstreamRequest, *, load: Load, device: str) -> None:
        self._request, self._load, self._device = request, load, device
        self._loaded: EvaluatedUpstream | None = None

    def __call__(self) -> EvaluatedUpstream:
        if self._loaded is None:
            self._loaded = _on(self._load(self._request), self._device)
        return self._loaded

    def forget(self) -> None:
        self._loaded = None


def _cells(model: _Model, tasks: Sequence[TaskCase], *, plan: Plan, progress: Progress) -> list[Cells]:
    """Of one upstream, task by task; first those that fail for a recording that is too long for the memory."""
    upstream = model()
    found = [(case, _too_long(upstream, case, plan), case.cells(upstream, plan)) for case in tasks]
    return [
        Cells(cells=cells, results=partial(_results, model, case.task, problem or case.data, plan, progress))
        for case, problem, cells in sorted(found, key=lambda one: one[1] is None)
    ]


def _require_known(plan: Plan) -> None:
    """What is wrong with the plan itself is found before anything is loaded."""
    from skill_bench.upstream.load import HUB_PREFIX

    for request in plan.upstreams:
        if not request.name.startswith(HUB_PREFIX):
            catalog.upstream(request.name)


def not_loaded(request: UpstreamRequest, error: Exception, *, task: str | None = None) -> FailedCell:
    """What to report of an upstream that could not be loaded, or for which ``task`` could not be done."""
    if not isinstance(error, SkillBenchError):
        _log.error("%s", request.name, exc_info=error)
    said = str(error) if isinstance(error, SkillBenchError) else explained(error)
    text = said or f"{type(error).__name__}: {error}"
    return FailedCell(upstream=request.name, task=task, seed=None, error=text, is_usage=isinstance(error, UsageError))


def _remove_leftovers(plan: Plan) -> None:
    """Only where such runs write: both folders may hold what is none of their business."""
    remove_leftovers(plan.out_dir / safe_name(plan.suite))
    remove_leftovers(plan.cache_dir, below=False)
    remove_leftovers(root_in(plan.cache_dir))


def _ensure_profile(
    model: _Model,
    request: UpstreamRequest,
    load: Callable[[UpstreamRequest], EvaluatedUpstream],
    plan: Plan,
    outcome: Outcome,
    progress: Progress,
) -> None:
    """One that cannot be made or kept costs no cell."""
    try:
        ensure_profile(
            model(),
            load=lambda: _on(load(request), plan.device),
            out_dir=plan.out_dir,
            suite=plan.suite,
            timed=plan.profile == "timed",
            called=request.name,
            progress=progress,
        )
    except Exception as error:
        outcome.failed(not_loaded(request, error, task="profile"), progress)


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
            cache_limit_bytes=plan.cache_limit_bytes,
            device=torch.device(plan.device),
            batch_seconds=plan.batch_seconds,
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
            limit=plan.limit,
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


def extract_features(plan: Plan, *, load: Load | None = None, progress: Progress | None = None) -> None:
    """Leaves in the cache what the cells of ``plan`` ask for.

    Raises:
        SkillBenchError: data or an upstream that cannot be used.
    """
    progress, load = progress or Silent(), load or load_request
    for task, data in prepare(plan, progress=progress, load=load):
        if isinstance(data, SkillBenchError):
            raise data
        for request in plan.upstreams:
            upstream = _on(load(request), plan.device)
            for asked in requests(task, data):
                extract(
                    upstream, asked.utterances, pooled=asked.pooled, max_seconds=asked.max_seconds, progress=progress,
                    cache_dir=plan.cache_dir, cache_limit_bytes=plan.cache_limit_bytes,
                    batch_seconds=plan.batch_seconds,
                )  # fmt: skip


def load_request(request: UpstreamRequest) -> Upstream:
    """The model that is asked for."""
    from skill_bench.upstream.load import load_upstream

    return load_upstream(request.name, request.ckpt).at_precision(request.precision)


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


def _too_long(upstream: EvaluatedUpstream, case: TaskCase, plan: Plan) -> SkillBenchError | None:
    """What extraction would say of a recording that needs more memory than there is, before anything is extracted."""
    if isinstance(case.data, SkillBenchError):
        return None
    try:
        for asked in requests(case.task, case.data):
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


def _show_notes(cases: Sequence[TaskCase], progress: Progress) -> None:
    """Each note once, with the tasks whose data it is about."""
    about: dict[str, list[str]] = {}
    for task, data in cases:
        for note in data.notes if isinstance(data, TaskData) else ():
            about.setdefault(note, []).append(task.name)
    for note, names in about.items():
        progress.note(f"{', '.join(names)}: {note}")


def _results(
    model: _Model,
    task: TaskSpec,
    data: TaskData | SkillBenchError,
    plan: Plan,
    progress: Progress,
    seeds: tuple[int, ...],
) -> Generator[CellResult]:
    if isinstance(data, SkillBenchError):
        raise data
    yield from run_cells(
        model(),
        task,
        data,
        seeds=seeds,
        cache_dir=plan.cache_dir,
        cache_limit_bytes=plan.cache_limit_bytes,
        progress=progress,
        device=plan.device,
        batch_seconds=plan.batch_seconds,
    )
