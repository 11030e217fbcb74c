"""Records as data frames. Loads no torch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from skill_bench.base.counted import counted
from skill_bench.base.places import Names, names
from skill_bench.records.record import read_predictions
from skill_bench.report.render.frame import Summary, to_frame
from skill_bench.report.table.collect import Collection
from skill_bench.report.table.columns import columns_in
from skill_bench.report.table.entry import FoundRecord
from skill_bench.report.table.load import SHIPPED, load_collections, of_run


@dataclass(frozen=True, kw_only=True)
class Results:
    """Records of a run, or of a folder.

    Attributes:
        collections: The records, and those that come with the package to stand beside them.
        own: Which of the records these results are.
        failures: Cells without a result, a sentence each.
    """

    collections: tuple[Collection, ...]
    own: tuple[FoundRecord, ...]
    failures: tuple[str, ...] = ()

    @cached_property
    def frame(self) -> pd.DataFrame:
        """A row for each metric of each record.

        Columns: system, title, suite, protocol, task, seed, metric (with its unit, ``accuracy_percent``), is_primary
        (whether the task is judged by it), value, numerator, denominator, reason (why there is no value),
        higher_is_better, n_test, learning_rate, seconds (of the whole cell).
        """
        return pd.DataFrame([row for entry in self.own for row in _rows(entry)])

    @cached_property
    def predictions(self) -> dict[str, pd.DataFrame]:
        """By task, a row for each test item of each system and seed: system, seed, id, then what the metric counts.

        Raises:
            RecordError: a record's predictions are missing, or are not the ones that it was written with.
        """
        found: dict[str, list[pd.DataFrame]] = {}
        for entry in self.own:
            key = entry.record.key
            if entry.file is not None and entry.record.predictions is not None:
                rows = pd.DataFrame(read_predictions(entry.file, entry.record))
                rows.insert(0, "system", key.upstream)
                rows.insert(1, "seed", key.seed)
                found.setdefault(key.task, []).append(rows)
        return {task: pd.concat(frames, ignore_index=True) for task, frames in found.items()}

    @cached_property
    def table(self) -> Summary:
        """A row a system, beside those that come with the package and were measured on the same data.

        Each metric with its 95 % interval (``ks_accuracy_percent``, ``_low``, ``_high``), then means and costs; units
        are in the names. ``origin`` tells what was run here.
        """
        return to_frame(of_run(self.collections).table)

    def __repr__(self) -> str:
        systems = list(dict.fromkeys(entry.record.key.upstream for entry in self.own))
        failed = f", {counted(len(self.failures), 'failure')}" if self.failures else ""
        return f"<Results: {counted(len(self.own), 'record')} of {', '.join(systems) or 'nothing'}{failed}>"


def load_results(folder: str | Path | None = None, *, suite: str | None = None, tasks: Names | None = None) -> Results:
    """The results in a folder or archive of records.

    Args:
        folder: As ``skill-bench run --out`` wrote it, or a ``.zip`` of ``skill-bench results pack``; None for the
            records that come with the package.
        suite: Only this one.
        tasks: Only these; means are then over them.

    Raises:
        RecordError: an archive cannot be trusted.
        UsageError: ``folder`` does not exist, or holds no record where records lie.
    """
    asked = None if tasks is None else names(tasks)
    found = load_collections(None if folder is None else Path(folder), suite=suite, tasks=asked)
    own = [entry for collection in found for entry in collection.entries if folder is None or entry.origin != SHIPPED]
    return Results(collections=tuple(found), own=tuple(own))


def _rows(entry: FoundRecord) -> list[dict[str, Any]]:
    record = entry.record
    of_all: dict[str, Any] = {
        "system": record.key.upstream,
        "title": record.system.title,
        "suite": record.key.suite,
        "protocol": record.key.protocol,
        "task": record.key.task,
        "seed": record.key.seed,
    }
    return [
        {
            **of_all,
            "metric": column.name.removeprefix(f"{column.task}_"),
            "is_primary": column.primary,
            "value": (metric := record.metrics[column.metric]).value,
            "numerator": metric.numerator,
            "denominator": metric.denominator,
            "reason": metric.reason,
            "higher_is_better": metric.higher_is_better,
            "n_test": None if record.data is None else record.data.n_test,
            "learning_rate": None if record.selection is None else record.selection.learning_rate,
            "seconds": sum(record.provenance.seconds.values()),
        }
        for column in columns_in(record)
    ]
