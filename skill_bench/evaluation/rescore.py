"""Metrics again, from the predictions that a record keeps: no model, no audio, no training.

A scorer that was wrong is corrected together with a higher version of every task that it judges; records of the
older version are then stale. Where nothing but scoring changed (``predictions_since`` in the task's file), rescoring
makes them records of the current version.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from skill_bench.base.archive import inside
from skill_bench.base.errors import RecordError
from skill_bench.evaluation.task_files import load_task
from skill_bench.metrics.scoring import score, with_counts
from skill_bench.records.record import Metric, Record, read_predictions
from skill_bench.tasks import TaskSpec


@dataclass(frozen=True, kw_only=True)
class Rescored:
    """What was found: ``after`` is ``before`` where nothing changed, and then no file was written."""

    file: Path
    before: Record
    after: Record

    @property
    def changed(self) -> bool:
        """Whether the record was replaced."""
        return self.after is not self.before


def rescore(file: Path, *, task: TaskSpec | None = None) -> Rescored:
    """Scores the predictions of one record again, and replaces the record if its task has a newer version.

    Args:
        file: A record; the older one is moved to ``replaced/`` beside it, with its predictions.
        task: Its task as it is now; that of the catalog unless a caller has another.

    Raises:
        RecordError: the record failed, keeps no predictions, is of a version whose predictions would be others now,
            gives other numbers although the version is the same, or would be replaced and lies in an archive.
    """
    before = Record.read(file)
    if before.status != "finished":
        raise RecordError(f"{file}: the run failed, so there is nothing to score. Run that cell again.")
    task = task or load_task(before.key.task)
    oldest = task.predictions_since or task.version
    if not oldest <= before.key.task_version <= task.version:
        raise RecordError(
            f"{file}: is of version {before.key.task_version} of task {task.name!r}; the predictions of versions "
            f"{oldest} to {task.version} can be scored. Run that cell again."
        )
    rows = [with_counts(task.metric, row) for row in read_predictions(file, before)]
    metrics, folds = score(
        task.metric, rows, further=task.further_metrics, mean_of_folds=task.aggregate == "mean_of_folds"
    )
    if before.key.task_version == task.version:
        _must_agree(file, before.metrics, metrics)
        return Rescored(file=file, before=before, after=before)
    if (archive := inside(file)) is not None:
        raise RecordError(
            f"{file}: is of version {before.key.task_version}, now {task.version}, and an archive stays as it is. "
            f"Unpack it (skill-bench results unpack {archive[0]} --out FOLDER), score the folder again, and pack that."
        )
    after = before.model_copy(
        update={
            "key": before.key.model_copy(update={"task_version": task.version}),
            "metrics": metrics,
            "folds": folds if before.folds else {},
            "task_spec": before.task_spec | {"version": task.version, "metric": task.metric},
            "rescored_from_version": before.key.task_version,
        }
    )
    out_dir = file.parents[2]
    if before.path(out_dir) != file:
        raise RecordError(f"{file}: lies elsewhere than its key says ({before.path(out_dir)}). Move it there first.")
    after.save(out_dir, predictions=rows)
    return Rescored(file=file, before=before, after=Record.read(file))


def _must_agree(file: Path, recorded: dict[str, Metric], found: dict[str, Metric]) -> None:
    """The same version of a scorer gives the same numbers; sums may differ by rounding on another machine."""
    for name, metric in recorded.items():
        other = found.get(name)
        same = other is not None and (
            metric.value == other.value
            or (metric.value is not None and other.value is not None and math.isclose(metric.value, other.value))
        )
        if not same:
            raise RecordError(
                f"{file}: {name} is {metric.value} in the record, and {other.value if other else 'absent'} from its "
                "predictions, under the same version of the task. Either file was changed, or the scorer was without "
                "raising the version in the task's file."
            )
