"""One upstream on one task, with one or several seeds: from audio to scores with their evidence."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from skill_bench.base.progress import Progress, Silent
from skill_bench.corpora.data import TaskData
from skill_bench.evaluation import kinds
from skill_bench.evaluation.solve import solve
from skill_bench.evaluation.solving.cell import Cell, CellUpstream, Solved
from skill_bench.metrics.scoring import score, with_counts
from skill_bench.records.record import DEFAULT_PROTOCOL, Metric, Selection
from skill_bench.tasks import TaskSpec


@dataclass(frozen=True, kw_only=True)
class CellResult:
    """What a cell found.

    Attributes:
        task: The specification as it was used, resolved for suite and protocol.
        metrics: The task's metric under ``task.metric``, and further ones.
        folds: The metrics of each fold.
        selection: What was chosen on dev and every dev point.
        layer_weights: Weight of each hidden state, mean over folds; they add up to 1.
        predictions: One row a test item, see `skill_bench.metrics.scoring`.
        notes: Facts found on the way, to be recorded beside the data's own.
        n_resampled: Utterances whose file had another rate than 16 kHz.
        n_mixed_down: Utterances whose file had several channels.
        seconds: Wall-clock seconds of each stage; what seeds did together is shared out evenly.
    """

    task: TaskSpec
    metrics: dict[str, Metric]
    folds: dict[str, dict[str, Metric]]
    selection: Selection
    layer_weights: tuple[float, ...]
    predictions: tuple[dict[str, Any], ...]
    notes: tuple[str, ...]
    n_resampled: int
    n_mixed_down: int
    seconds: dict[str, float]


def run_cells(
    upstream: CellUpstream,
    task: TaskSpec,
    data: TaskData,
    *,
    seeds: tuple[int, ...],
    cache_dir: Path,
    cache_limit_bytes: int | None = None,
    protocol: str = DEFAULT_PROTOCOL,
    progress: Progress | None = None,
    device: str = "cpu",
    batch_seconds: float | None = None,
) -> Generator[CellResult, None, None]:
    """Extracts features, trains the grid of learning rates, chooses on dev, reads test once; seed by seed.

    Seeds share the features, and where batches have one shape (linear probes on time means) the computation too.

    Args:
        upstream: The frozen model.
        task: The task; its overrides for ``data.suite`` and ``protocol`` are applied here, unless they were before.
        data: Utterances in folds.
        seeds: Each decides initial heads, batches and masks. The same seed gives the same predictions.
        cache_dir: Where features are kept.
        cache_limit_bytes: See `skill_bench.features.extract.extract`.
        protocol: One that the task describes.
        progress: Receives the stages.
        device: Where the heads are trained, as torch names it.
        batch_seconds: See `skill_bench.features.extract.extract`.

    Yields:
        The result of each seed in turn, as soon as it is there.

    Raises:
        DataError: the data cannot be used; see the kind's ``check`` and `skill_bench.features.extract`.
    """
    if task.suites or task.protocols:
        task = task.for_suite(data.suite, protocol=protocol)
    kinds.load(task.kind).check(task, data)
    cell = Cell(
        upstream=upstream,
        task=task,
        data=data,
        seeds=seeds,
        cache_dir=cache_dir,
        cache_limit_bytes=cache_limit_bytes,
        progress=progress or Silent(),
        device=torch.device(device),
        batch_seconds=batch_seconds,
    )
    for found in solve(cell):
        yield _result(cell, found)


def _result(cell: Cell[TaskSpec], found: Solved) -> CellResult:
    task = cell.task
    speakers = {u.id: u.speaker for fold in cell.data.folds for u in fold.test if u.speaker is not None}
    rows = [_with_speaker(with_counts(task.metric, row), speakers) for row in found.rows]
    metrics, folds = score(
        task.metric, rows, further=task.further_metrics, mean_of_folds=task.aggregate == "mean_of_folds"
    )
    beyond = [note for features in cell.extracted for note in features.notes]
    policies = dict.fromkeys(features.policy for features in cell.extracted)
    return CellResult(
        task=task,
        metrics=metrics,
        folds=folds,
        selection=found.selection,
        layer_weights=found.layer_weights,
        predictions=tuple(rows),
        notes=(*(f"features: {policy}" for policy in policies), *dict.fromkeys(beyond), *found.notes),
        n_resampled=sum(features.n_resampled for features in cell.extracted),
        n_mixed_down=sum(features.n_channels_averaged for features in cell.extracted),
        seconds=dict(cell.clock.seconds),
    )


def _with_speaker(row: dict[str, Any], speakers: Mapping[str, str]) -> dict[str, Any]:
    """The row with who speaks in its utterance, where that is known: what an interval over speakers draws."""
    speaker = speakers.get(str(row["id"]))
    return row if speaker is None else {**row, "speaker": speaker}
