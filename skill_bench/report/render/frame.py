"""The table as a data frame: what the CSV file holds, in full precision, units in the column names."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

import pandas as pd

from skill_bench.report.table.table import Cell, Costs, Row, Section, Table

IDENTITY = (
    "section", "source", "origin", "suite", "synthetic", "protocol", "system", "title", "kind", "identity", "teacher",
)  # fmt: skip
SCORES = ("rank", "mean_points", "superb_score", "overall_score", "superb_score_published", "retention_percent")
COSTS = tuple(one.name for one in fields(Costs))
_OF_A_CELL = ("", "_low", "_high", "_speaker_low", "_speaker_high", "_std", "_n_seeds", "_rank", "_retention_percent")
_WHOLE = ("_n_seeds", "_rank")


def to_frame(table: Table) -> pd.DataFrame:
    """A row a system; each metric is followed by its interval, spread, number of seeds, rank and retention."""
    rows = [_flat(section, row) for section in table.sections for row in section.rows]
    metrics = [
        f"{column.name}{part}"
        for column in table.columns
        for part in _OF_A_CELL
        if any(f"{column.name}{part}" in row for row in rows)
    ]
    names = [*IDENTITY, *SCORES, *metrics, *COSTS, "notes"]
    frame = pd.DataFrame([[row.get(name) for name in names] for row in rows], columns=names)
    return frame.astype({name: "Int64" for name in names if name == "rank" or name.endswith(_WHOLE)})


def _flat(section: Section, row: Row) -> dict[str, Any]:
    flat = {name: getattr(row, name) for name in (*IDENTITY, *SCORES) if hasattr(row, name)}
    flat |= {"section": section.label, "suite": section.suite}
    flat |= {"synthetic": section.synthetic, "protocol": section.protocol}
    for name, cell in row.cells.items():
        flat |= {f"{name}{part}": value for part, value in _parts(cell).items() if value is not None}
    return flat | asdict(row.costs) | {"notes": "; ".join(row.notes) or None}


def _parts(cell: Cell) -> dict[str, float | int | None]:
    return {
        "": cell.value,
        "_low": None if cell.interval is None else cell.interval.low,
        "_high": None if cell.interval is None else cell.interval.high,
        "_speaker_low": None if cell.speaker_interval is None else cell.speaker_interval.low,
        "_speaker_high": None if cell.speaker_interval is None else cell.speaker_interval.high,
        "_std": cell.std,
        "_n_seeds": len(cell.by_seed) or None,
        "_rank": cell.rank,
        "_retention_percent": cell.retention_percent,
    }
