"""Records whose predictions lost points on purpose, for tests of what finds them."""

from __future__ import annotations

from pathlib import Path

import made_samples as made
import numpy as np

from skill_bench.metrics.scoring import score, with_counts
from skill_bench.records.record import Record
from skill_bench.report.table.entry import FoundRecord


def worse(record: Record, rows: made.Rows, points: float) -> made.Rows:
    """The rows with so many points lost: right labels made wrong, right words left out."""
    g = np.random.default_rng(0)
    changed = [dict(row) for row in rows]
    to_lose = round(points / 100 * sum(row["denominator"] for row in rows))
    for i in g.permutation(len(rows)):
        row = changed[i]
        if to_lose <= 0:
            break
        if record.metric == "accuracy":
            if row["numerator"]:
                row["prediction"] = "something else"
                to_lose -= 1
        else:
            words = str(row["prediction"]).split()
            row["prediction"] = " ".join(words[:-2])
            to_lose -= with_counts(record.metric, row)["numerator"] - row["numerator"]
    return [with_counts(record.metric, row) for row in changed]


def swapped(record: Record, rows: made.Rows, share: float, generator: np.random.Generator) -> made.Rows:
    """The rows of a rerun in which so large a share of labels is right or wrong by chance, and the value stays."""
    changed = [dict(row) for row in rows]
    value = sum(row["numerator"] for row in rows) / len(rows)
    for i in np.flatnonzero(generator.random(len(rows)) < share):
        right = generator.random() < value
        changed[i]["prediction"] = changed[i]["target"] if right else "something else"
    return [with_counts(record.metric, row) for row in changed]


def saved(folder: Path, record: Record, rows: made.Rows) -> FoundRecord:
    """The record of these rows, in a folder of its own."""
    metrics, _ = score(record.metric, rows, mean_of_folds=record.task_spec.get("aggregate") == "mean_of_folds")
    changed = record.model_copy(update={"metrics": record.metrics | metrics, "folds": {}})
    file = changed.save(folder, predictions=rows)
    return FoundRecord(record=Record.read(file), file=file)
