"""All cells of a run: upstreams x tasks x seeds, one record each, finished ones skipped, failed ones reported.

Seeds of a task run together. Killed at any instant it loses the cells that were running and nothing else; the same
call goes on after the finished cells.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import torch

from skill_bench import kinds
from skill_bench.corpora.data import TaskData
from skill_bench.corpora.suite import load_task_data
from skill_bench.errors import RecordError, SkillBenchError, UsageError
from skill_bench.forecast import PROBE_LIMIT, Forecast, Prober, forecast_path, peak_memory_bytes
from skill_bench.kinds.cell import Source
from skill_bench.progress import Advance, Progress, Silent
from skill_bench.provenance import collect, now
from skill_bench.record import DEFAULT_PROTOCOL, Data, Failure, Key, Record, System, find_finished, record_path
from skill_bench.run import CellResult, run_cells
from skill_bench.tasks import TaskSpec, load_task

if TYPE_CHECKING:
    from skill_bench.features.upstream import Upstream

_log = logging.getLogger(__name__)
AnyUpstream = TypeVar("AnyUpstream")


class EvaluatedUpstream(Source, Protocol):
    """What a run needs of an upstream: features, and what goes into the record."""

    def system(self) -> System:
        """Name, role, identity and size of the model."""
        ...


@dataclass(frozen=True, kw_only=True)
class UpstreamRequest:
    """An upstream's name in ``upstreams/`` (or ``hf:...``), and a checkpoint for it."""

    name: str
    ckpt: Path | None = None


@dataclass(frozen=True, kw_only=True)
class FailedCell:
    """A cell without a result; ``seed`` and ``task`` are None where the upstream itself could not be loaded."""

    upstream: str
    task: str | None
    seed: int | None
    error: str


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


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to run and where its files are.

    Attributes:
        upstreams: One after the other.
        suite: ``demo`` or ``local``.
        tasks: Names in ``tasks/``.
        seeds: One cell each.
        out_dir: Records, at ``Record.path``.
        cache_dir: Features and synthesised speech.
        cache_limit_bytes: How large its features may grow.
        data_root: Folder of the ``local`` suite.
        suite_file: Its suite.toml, if it lies elsewhere.
        limit: At most so many utterances in each of train, dev and test.
        device: Where features are extracted and heads are trained.
        protocol: ``strict``, or another that every task describes.
    """

    upstreams: Sequence[UpstreamRequest]
    suite: str
    tasks: Sequence[str]
    seeds: Sequence[int]
    out_dir: Path
    cache_dir: Path
    cache_limit_bytes: int | None = None
    data_root: Path | None = None
    suite_file: Path | None = None
    limit: int | None = None
    device: str = "cpu"
    protocol: str = DEFAULT_PROTOCOL


def evaluate(
    plan: Plan,
    *,
    progress: Progress | None = None,
    load: Callable[[UpstreamRequest], EvaluatedUpstream] | None = None,
) -> Outcome:
    """Runs every cell of ``plan`` that has no finished record of the same experiment.

    Args:
        plan: What to run.
        progress: Receives one stage over all cells, and stages within each.
        load: Loads an upstream; `skill_bench.features.upstream.load_upstream` unless a caller has another way.

    Raises:
        UsageError: the plan itself cannot be carried out (unknown names, a missing data folder, a faulty TOML file).
    """
    progress, load = progress or Silent(), load or load_request
    if repeated := {seed for seed in plan.seeds if plan.seeds.count(seed) > 1}:
        raise UsageError(f"seeds {sorted(repeated)} are given more than once. Give each seed once.")
    tasks = [load_task(name).for_suite(plan.suite, protocol=plan.protocol) for name in plan.tasks]
    outcome = Outcome()
    loaded = {task.name: _load_data(task, plan) for task in tasks}
    _show_notes(loaded, progress)
    # What cannot be used is said before anything is trained.
    tasks.sort(key=lambda task: isinstance(loaded[task.name], TaskData))
    per_upstream = len(tasks) * len(plan.seeds)
    with progress.stage("cells", total=len(plan.upstreams) * per_upstream) as advance:
        for request in plan.upstreams:
            try:
                upstream = _on(load(request), plan.device)
            except UsageError:
                raise
            except SkillBenchError as error:
                failure = FailedCell(upstream=request.name, task=None, seed=None, error=str(error))
                _report(outcome, failure, progress)
                advance(per_upstream)
                continue
            for task in tasks:
                _cells(
                    upstream, task, loaded[task.name], plan=plan, outcome=outcome, progress=progress, advance=advance
                )
    return outcome


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
        made.write(made.path(plan.out_dir))
        found.append(made)
    return found


def load_request(request: UpstreamRequest) -> Upstream:
    """The model that is asked for."""
    from skill_bench.features.upstream import load_upstream

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
    plan: Plan,
    outcome: Outcome,
    progress: Progress,
    advance: Advance,
) -> None:
    """Runs the cells of all seeds, or finds their records; whatever happens is in ``outcome`` and on disk."""
    cells = [_Cell(upstream, task, data, seed, plan=plan, started_at=now()) for seed in plan.seeds]
    missing = []
    for cell in cells:
        try:
            found = cell.finished()
        except SkillBenchError as error:
            _report(outcome, cell.failed(error), progress)
            advance(1)
            continue
        if found is None:
            missing.append(cell)
            continue
        outcome.records.append(found)
        outcome.n_skipped += 1
        advance(1)
    results = _results(upstream, task, data, tuple(cell.key.seed for cell in missing), plan=plan, progress=progress)
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


class _Cell:
    """One seed's record: looked for, written, or left behind as a failure."""

    def __init__(
        self,
        upstream: EvaluatedUpstream,
        task: TaskSpec,
        data: TaskData | SkillBenchError,
        seed: int,
        *,
        plan: Plan,
        started_at: str,
    ) -> None:
        self.data, self.plan, self.started_at = data, plan, started_at
        self.identity = upstream.identity
        self.key = Key(
            suite=plan.suite,
            protocol=task.protocol.name,
            task=task.name,
            task_version=task.version,
            upstream=upstream.name,
            seed=seed,
        )
        self.common: dict[str, Any] = {
            "key": self.key,
            "system": upstream.system(),
            "metric": task.metric,
            "task_spec": task.model_dump(mode="json"),
        }

    def finished(self) -> Record | None:
        """The record of exactly this cell, if there is one: same model, same data, same settings."""
        if isinstance(self.data, SkillBenchError):
            return None
        found = find_finished(self.plan.out_dir, self.key, identity=self.identity, fingerprint=self.data.fingerprint)
        return found if found is not None and _stated(found.task_spec) == _stated(self.common["task_spec"]) else None

    def save(self, result: CellResult) -> Record:
        """Writes the record and reads it again."""
        assert isinstance(self.data, TaskData)
        record = Record(
            status="finished",
            metrics=result.metrics,
            folds=result.folds if len(self.data.folds) > 1 else {},
            selection=result.selection,
            layer_weights=result.layer_weights,
            data=_data(self.data, self.plan, result),
            provenance=collect(
                started_at=self.started_at,
                seconds=result.seconds,
                forecast_seconds=_expected(self.plan, self.key, self.identity),
            ),
            **self.common,
        )
        return Record.read(record.save(self.plan.out_dir, predictions=result.predictions))

    def failed(self, error: Exception) -> FailedCell:
        """Leaves a record that says so, and tells what to report."""
        key = self.key
        if not isinstance(error, SkillBenchError):
            _log.error("%s on %s, seed %d", key.upstream, key.task, key.seed, exc_info=error)
        failure = Failure(type=type(error).__name__, message=str(error))
        _leave_failed_record(
            Record(
                status="failed",
                error=failure,
                data=_data(self.data, self.plan, None) if isinstance(self.data, TaskData) else None,
                provenance=collect(started_at=self.started_at),
                **self.common,
            ),
            self.plan,
        )
        text = str(error) if isinstance(error, SkillBenchError) else f"{failure.type}: {failure.message}"
        return FailedCell(upstream=key.upstream, task=key.task, seed=key.seed, error=text)


def _stated(task_spec: Mapping[str, Any]) -> dict[str, Any]:
    """What decides a score: no words for the reader, no table that the task has not (older records lack newer ones)."""
    words = ("title", "reference")
    return {name: value for name, value in task_spec.items() if value is not None and name not in words}


def _expected(plan: Plan, key: Key, identity: str) -> dict[str, float]:
    """What `skill-bench plan` said about such a cell, if it was asked."""
    path = forecast_path(plan.out_dir, key.suite, key.upstream, key.protocol)
    if not path.exists():
        return {}
    try:
        found = Forecast.read(path)
    except RecordError as error:
        _log.warning("the forecast is left out of the record: %s", error)
        return {}
    return found.of_task(key.task) if found.identity == identity else {}


def _leave_failed_record(record: Record, plan: Plan) -> None:
    """Writes the failed record unless a damaged record, or a finished one that it says nothing about, is there."""
    path = record_path(plan.out_dir, record.key)
    try:
        if record.data is None and path.exists() and Record.read(path).status == "finished":
            return
        record.save(plan.out_dir)
    except RecordError as error:
        _log.warning("no record of the failure was written: %s", error)


def _data(data: TaskData, plan: Plan, result: CellResult | None) -> Data:
    """Counts are added up over folds."""
    return Data(
        suite=data.suite,
        synthetic=data.synthetic,
        fingerprint=data.fingerprint,
        limit=plan.limit,
        n_train=sum(len(fold.train) for fold in data.folds),
        n_dev=sum(len(fold.dev) for fold in data.folds),
        n_test=sum(len(fold.test) for fold in data.folds),
        n_resampled=result.n_resampled if result else 0,
        n_mixed_down=result.n_mixed_down if result else 0,
        notes=(*data.notes, *(result.notes if result else ())),
    )


def _report(outcome: Outcome, failure: FailedCell, progress: Progress) -> None:
    outcome.failures.append(failure)
    what = failure.upstream if failure.task is None else f"{failure.upstream}, {failure.task}, seed {failure.seed}"
    progress.note(f"failed: {what}: {failure.error}")
