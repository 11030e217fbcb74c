"""The record of one cell: looked for before it runs, written after it, left behind where it failed."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from skill_bench.base.errors import RecordError, SkillBenchError, explained
from skill_bench.base.provenance import collect, now
from skill_bench.corpora.data import TaskData
from skill_bench.evaluation.cell_result import CellResult
from skill_bench.evaluation.forecast import forecast_of
from skill_bench.evaluation.plan import Plan
from skill_bench.evaluation.solving.cell import CellUpstream
from skill_bench.records.record import (
    Data,
    Failure,
    Key,
    Record,
    System,
    find_finished,
    find_record,
    record_path,
    version,
)
from skill_bench.tasks import TaskSpec

_log = logging.getLogger(__name__)


class EvaluatedUpstream(CellUpstream, Protocol):
    """What a run needs of an upstream: features, and what goes into the record."""

    def system(self) -> System:
        """Name, role, identity and size of the model."""
        ...


@dataclass(frozen=True, kw_only=True)
class FailedCell:
    """A cell without a result.

    ``seed`` and ``task`` are None where the upstream itself could not be loaded; ``task`` is "profile" where its costs
    could not be kept. ``is_usage``: it could not be as it was asked for, whatever is tried.
    """

    upstream: str
    task: str | None
    seed: int | None
    error: str
    is_usage: bool = False

    @property
    def name(self) -> str:
        """Which one it is, for a line about it."""
        parts = (self.upstream, self.task, None if self.seed is None else f"seed {self.seed}")
        return ", ".join(part for part in parts if part is not None)


class CellRecord:
    """One seed's record: looked for, written, or left behind as a failure."""

    def __init__(
        self,
        upstream: EvaluatedUpstream,
        task: TaskSpec,
        data: TaskData | SkillBenchError,
        seed: int,
        *,
        plan: Plan,
    ) -> None:
        self.data, self.plan, self.started_at = data, plan, now()
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
            "task_spec": task.recorded(),
        }
        self.path = record_path(plan.out_dir, self.key)
        self.before = version(self.path)

    @property
    def claim(self) -> Path:
        """Of which one process at a time may hold the lock: it runs the cell."""
        return self.path.with_suffix(".claim")

    @property
    def has_changed(self) -> bool:
        """Whether somebody has written its record since this object was made."""
        return version(self.path) != self.before

    def finished(self) -> Record | None:
        """The record of exactly this cell, if there is one: same model, same data, same settings."""
        if isinstance(self.data, SkillBenchError):
            return None
        return find_finished(
            self.plan.out_dir,
            self.key,
            identity=self.identity,
            fingerprint=self.data.fingerprint,
            task_spec=self.common["task_spec"],
        )

    def failed_meanwhile(self) -> FailedCell | None:
        """What another process has just failed at: it is not tried again by everybody who finds it."""
        if not self.has_changed or not self.path.exists():
            return None
        record = Record.read(self.path)
        if record.error is None or record.system.identity != self.identity:
            return None
        return self._named(record.error.message)

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
        """Leaves a record that says so, if one can be written, and tells what to report."""
        key = self.key
        said = str(error) if isinstance(error, SkillBenchError) else explained(error)
        if said is None:
            _log.error("%s on %s, seed %d", key.upstream, key.task, key.seed, exc_info=error)
        failure = Failure(type=type(error).__name__, message=_storable(said or str(error)))
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
        return self._named(failure.message if said else f"{failure.type}: {failure.message}")

    def _named(self, error: str) -> FailedCell:
        return FailedCell(upstream=self.key.upstream, task=self.key.task, seed=self.key.seed, error=error)


def _storable(text: str) -> str:
    """Without the halves of characters that stand for a file name's bytes which are no UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()


def _expected(plan: Plan, key: Key, identity: str) -> dict[str, float]:
    """What `skill-bench plan` said about such a cell, if it was asked."""
    try:
        found = forecast_of(plan, upstream=key.upstream, identity=identity)
    except RecordError as error:
        _log.warning("the forecast is left out of the record: %s", error)
        return {}
    return {} if found is None else found.of_task(key.task)


def _leave_failed_record(record: Record, plan: Plan) -> None:
    """Writes the failed record unless a damaged record, or a finished one that it says nothing about, is there."""
    try:
        path = find_record(plan.out_dir, record.key)
        if record.data is None and path is not None and Record.read(path).status == "finished":
            return
        record.save(plan.out_dir)
    except (RecordError, OSError) as error:
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
