"""The table as a data frame: what the CSV file holds, in full precision, units in the column names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

from skill_bench.base.escape import without_paths
from skill_bench.report.table.quantities import MEAN, quantities
from skill_bench.report.table.table import Score, Section, SystemRow, Table

_RANK, _RANK_LAST = "rank", "rank_last"
_N_SEEDS = "_n_seeds"
_SPEAKER = "_speaker"
_AT_EDGE = "_learning_rate_at_edge"
_OF_A_SECTION = ("suite", "synthetic", "protocol")
_OF_A_ROW = ("source", "origin", "system", "title", "kind", "identity", "teacher")
_IDENTITY = (
    "section", "source", "origin", "suite", "synthetic", "protocol", "system", "title", "kind", "identity", "teacher",
)  # fmt: skip
_MACHINES = ("compressed_on", "measured_on")
_OF_A_SCORE: dict[str, Callable[[Score], float | int | str | None]] = {
    "": lambda cell: cell.value,
    "_low": lambda cell: None if cell.interval is None else cell.interval.low,
    "_high": lambda cell: None if cell.interval is None else cell.interval.high,
    "_speaker_low": lambda cell: None if cell.speaker_interval is None else cell.speaker_interval.low,
    "_speaker_high": lambda cell: None if cell.speaker_interval is None else cell.speaker_interval.high,
    # The file may be sent to whoever has none of these folders.
    "_no_interval": lambda cell: None if cell.no_interval is None else without_paths(cell.no_interval),
    "_std": lambda cell: cell.std,
    _N_SEEDS: lambda cell: len(cell.by_seed) or None,
    f"_{_RANK}": lambda cell: cell.rank,
    "_retention_percent": lambda cell: cell.retention_percent,
}


class Summary(pd.DataFrame):
    """A row a system, best first in its section. Knows which of its columns hold the mean and the ranks."""

    @property
    def _constructor(self) -> type[Summary]:
        return Summary

    @property
    def mean_column(self) -> str:
        """Of the mean over the section's tasks that count, empty where one is missing."""
        return MEAN.name

    @property
    def rank_columns(self) -> list[str]:
        """The rank in the section, then the rank by each metric."""
        return [name for name in self.columns if name == _RANK or name.endswith(f"_{_RANK}")]


def to_frame(table: Table) -> Summary:
    """A row a system; each metric is followed by its interval, spread, number of seeds, rank and retention."""
    rows = [_flat(section, row) for section in table.sections for row in section.rows]
    metrics = [
        f"{column.name}{part}"
        for column in table.columns
        for part in (*_OF_A_SCORE, _AT_EDGE)
        if any(f"{column.name}{part}" in row for row in rows)
    ]
    scores, costs = ([one.name for one in quantities(kind)] for kind in ("score", "cost"))
    ends = {name: (*_ends(name), *_ends(f"{name}{_SPEAKER}")) for name in scores}
    scores = [part for name in scores for part in (name, *(e for e in ends[name] if any(e in row for row in rows)))]
    names = [*_IDENTITY, _RANK, _RANK_LAST, *scores, *metrics, *costs, *_MACHINES, "notes"]
    frame = Summary([[row.get(name) for name in names] for row in rows], columns=names)
    counts = [name for name in metrics if name.endswith(_N_SEEDS)]
    return frame.astype(dict.fromkeys((*frame.rank_columns, _RANK_LAST, *counts), "Int64"))


def _flat(section: Section, row: SystemRow) -> dict[str, Any]:
    flat: dict[str, Any] = {"section": section.label, "notes": "; ".join(row.notes) or None}
    flat |= {name: getattr(section, name) for name in _OF_A_SECTION}
    flat |= {name: getattr(row, name) for name in (*_OF_A_ROW, _RANK, _RANK_LAST, *_MACHINES)}
    for name, cell in row.scores.items():
        flat |= {f"{name}{part}": value for part, of in _OF_A_SCORE.items() if (value := of(cell)) is not None}
        flat |= {f"{name}{_AT_EDGE}": True} if row.rate_at_edge(cell.column) else {}
    for part, intervals in (("", row.intervals), (_SPEAKER, row.speaker_intervals)):
        for name, interval in intervals.items():
            flat |= dict(zip(_ends(f"{name}{part}"), (interval.low, interval.high), strict=True))
    return {**flat, **row.quantities}


def _ends(name: str) -> tuple[str, str]:
    return f"{name}_low", f"{name}_high"
