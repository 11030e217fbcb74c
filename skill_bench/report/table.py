"""Records, profiles and published rows as one table: a row a system, units in the column names.

Measured and published rows stand in different blocks and say so in ``source``. The mean (and the rank by it) exists
only for a row that has every task of its block.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from skill_bench.efficiency import Profile
from skill_bench.record import Record
from skill_bench.report.blocks import Block, split
from skill_bench.report.collect import Collection
from skill_bench.report.columns import Column, published_column
from skill_bench.report.published import PublishedRow
from skill_bench.report.score import overall_score, superb_score

IDENTITY = ("block", "source", "origin", "suite", "synthetic", "protocol", "system", "title", "kind", "identity")
SCORES = ("rank", "mean_points", "superb_score", "overall_score", "superb_score_published")
COSTS = (
    "parameters_millions", "macs_giga", "macs_superb_giga", "throughput_audio_seconds_per_second",
    "peak_memory_mebibytes", "costs_measured_on",
)  # fmt: skip
LAST = ("notes",)
Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Table:
    """The frame, what its metric columns mean, and files that were left out because they cannot be trusted."""

    frame: pd.DataFrame
    columns: tuple[Column, ...]
    problems: tuple[str, ...] = ()

    def blocks(self) -> list[str]:
        """The blocks' labels, in order."""
        return list(dict.fromkeys(self.frame["block"]))


def build(collections: Sequence[Collection], published: Sequence[PublishedRow] = ()) -> Table:
    """One table of everything; measured blocks first."""
    blocks = split((c.origin, record) for c in collections for record in c.records)
    profiles = [(c.origin, profile) for c in collections for profile in c.profiles]
    columns: dict[str, Column] = {}
    rows = [row for block in blocks for row in _measured_rows(block, profiles, columns)]
    for suite in dict.fromkeys(row.suite for row in published):
        rows += _published_rows([row for row in published if row.suite == suite], columns)
    metric_names = [
        name for c in columns for name in (c, f"{c}_std", f"{c}_n_seeds") if any(name in row for row in rows)
    ]
    names = [*IDENTITY, *SCORES, *metric_names, *COSTS, *LAST]
    frame = pd.DataFrame([[row.get(name) for name in names] for row in rows], columns=names)
    return Table(
        frame=frame.astype({"rank": "Int64"} | {n: "Int64" for n in names if n.endswith("_n_seeds")}),
        columns=tuple(columns.values()),
        problems=tuple(problem for c in collections for problem in c.problems),
    )


def _measured_rows(block: Block, profiles: list[tuple[str, Profile]], columns: dict[str, Column]) -> list[Row]:
    own: dict[str, Column] = {}
    rows = []
    for (origin, name, identity), records in block.systems.items():
        newest = max(records, key=lambda r: r.provenance.started_at)
        row: Row = {
            "block": block.label,
            "source": "measured",
            "origin": origin,
            "suite": block.suite,
            "synthetic": block.synthetic,
            "protocol": block.protocol,
            "system": name,
            "title": newest.system.title,
            "kind": newest.system.kind,
            "identity": identity,
        }
        row |= _costs(_profile_of(profiles, origin, name, identity, block.suite), newest)
        values, notes = _metrics(records, own)
        rows.append(row | values | {"notes": "; ".join(notes) or None})
    columns |= {name: column for name, column in sorted(own.items()) if name not in columns}
    judged = {column.task: column for column in own.values() if column.primary}
    tasks = {record.key.task for records in block.systems.values() for record in records}
    for row in rows:
        row["mean_points"] = _mean_points(row, [judged.get(task) for task in sorted(tasks)])
    return _ranked(rows, by="mean_points")


def _metrics(records: Iterable[Record], columns: dict[str, Column]) -> tuple[Row, list[str]]:
    """Mean, spread and number of seeds of every metric; what is absent is a note."""
    found: dict[str, dict[int, float]] = defaultdict(dict)
    notes = []
    for record in sorted(records, key=lambda r: (r.key.task, r.key.seed)):
        cell = f"{record.key.task} seed {record.key.seed}"
        if record.error is not None:
            notes.append(f"{cell} failed: {record.error.type}: {record.error.message}")
        for name, metric in record.metrics.items():
            column = Column(
                task=record.key.task,
                metric=name,
                unit=metric.unit,
                higher_is_better=metric.higher_is_better,
                primary=name == record.metric,
            )
            columns[column.name] = column
            if metric.value is None:
                notes.append(f"{cell} has no {name}: {metric.reason}")
            else:
                found[column.name][record.key.seed] = metric.value
    row: Row = {}
    for column_name, by_seed in found.items():
        values = list(by_seed.values())
        row[column_name] = statistics.fmean(values)
        row[f"{column_name}_std"] = statistics.stdev(values) if len(values) > 1 else None
        row[f"{column_name}_n_seeds"] = len(values)
    return row, notes


def _mean_points(row: Row, judged: list[Column | None]) -> float | None:
    """The mean over the block's tasks with higher better, in percent; None unless every one is there.

    A task whose every cell failed has no column, and makes every row incomplete.
    """
    points = []
    for column in judged:
        value = None if column is None else row.get(column.name)
        if column is None or value is None or column.unit not in ("%", "percent"):
            return None
        points.append(column.points(value))
    return statistics.fmean(points) if points else None


def _ranked(rows: list[Row], *, by: str) -> list[Row]:
    """Best first, rows without a score last; equal scores share a rank."""
    scores = [row[by] for row in rows if row.get(by) is not None]
    for row in rows:
        score = row.get(by)
        row["rank"] = None if score is None else 1 + sum(other > score for other in scores)
    return sorted(rows, key=lambda row: (row["rank"] is None, row["rank"], row["title"].lower(), row["origin"]))


def _profile_of(
    profiles: list[tuple[str, Profile]], origin: str, name: str, identity: str, suite: str
) -> Profile | None:
    """The newest profile of exactly this model from the same origin, if there is one."""
    fitting = [p for o, p in profiles if (o, p.system.name, p.system.identity) == (origin, name, identity)]
    return max(fitting, key=lambda p: p.provenance.started_at, default=None)


def _costs(profile: Profile | None, record: Record) -> Row:
    n_parameters = record.system.n_parameters
    if profile is not None and profile.parameters is not None:
        n_parameters = profile.parameters.total
    row: Row = {"parameters_millions": None if n_parameters is None else n_parameters / 1e6}
    if profile is None:
        return row
    if profile.macs is not None:
        row |= {"macs_giga": profile.macs.total / 1e9, "macs_superb_giga": profile.macs.superb / 1e9}
    if profile.throughput is not None:
        row["throughput_audio_seconds_per_second"] = profile.throughput.median
        hardware = profile.provenance.hardware
        gpu = profile.throughput.device == "cuda" and hardware.gpus
        device = hardware.gpus[0] if gpu and hardware.gpus else hardware.cpu_model or "unknown CPU"
        row["costs_measured_on"] = f"{device}, {profile.throughput.n_threads} threads, {profile.throughput.dtype}"
    if profile.memory is not None:
        row["peak_memory_mebibytes"] = (profile.memory.peak_bytes + profile.memory.weight_bytes) / 2**20
    return row


def _published_rows(published: list[PublishedRow], columns: dict[str, Column]) -> list[Row]:
    rows = []
    for one in published:
        for name in one.values:
            column = published_column(name)
            if column is not None:
                columns.setdefault(name, column)
        values = {name: value for name, value in one.values.items() if value is not None}
        rows.append(
            {
                "block": f"{one.suite}, as published",
                "source": "published",
                "origin": one.source,
                "suite": one.suite,
                "synthetic": False,
                "system": one.system,
                "title": one.system,
                "superb_score": superb_score(one.values),
                "overall_score": overall_score(one.values),
                **values,
            }
        )
    return _ranked(rows, by="superb_score")
