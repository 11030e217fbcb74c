"""A table as CSV in full precision, as Markdown, and on the console."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from tabulate import tabulate

from skill_bench.report.columns import Column
from skill_bench.report.table import Table
from skill_bench.schema import write_atomic

ABSENT = "–"
SCORES = (("mean_points", "mean", 1), ("superb_score", "SUPERB score", 0), ("overall_score", "overall", 1))
COSTS = (
    ("parameters_millions", "params M", 2),
    ("macs_superb_giga", "MACs G", 1),
    ("throughput_audio_seconds_per_second", "audio s/s", 0),
    ("peak_memory_mebibytes", "peak MiB", 0),
)


def write_tables(table: Table, folder: Path) -> tuple[Path, Path]:
    """Writes ``table.csv`` (every column, full precision) and ``table.md`` into ``folder``."""
    csv = table.frame.to_csv(index=False, lineterminator="\n")
    return (
        write_atomic(folder / "table.csv", csv.encode()),
        write_atomic(folder / "table.md", markdown(table).encode()),
    )


def markdown(table: Table) -> str:
    """A section a block, and what the cells mean."""
    parts = []
    for label in table.blocks():
        headings, rows = cells(table, label)
        align = ("left", "left", *["right"] * (len(headings) - 2))
        parts.append(f"## {label}\n\n" + tabulate(rows, headings, "github", colalign=align, disable_numparse=True))
        parts += [f"- {note}" for note in notes(table, label)]
    if not parts:
        parts = ["No records yet."]
    if table.problems:
        parts.append("## Left out\n\n" + "\n".join(f"- {problem}" for problem in table.problems))
    return "\n\n".join([*parts, LEGEND]) + "\n"


LEGEND = (
    f"↑ higher is better, ↓ lower is better; mean ± standard deviation (number of seeds); {ABSENT}: not there. "
    "mean: over the block's tasks, error rates as 100 minus them; only where no task is missing. "
    "MACs: over the 32 utterances of the SUPERB challenge, counted its way."
)


def print_block(table: Table, label: str, console: Console) -> None:
    """Prints one block and its notes."""
    headings, rows = cells(table, label)
    align = ("left", "left", *["right"] * (len(headings) - 2))
    text = tabulate(rows, headings, "simple", colalign=align, disable_numparse=True)
    # A row that does not fit is better broken by the terminal than cut by us.
    console.print(f"{label}\n\n{text}\n", markup=False, highlight=False, soft_wrap=True)
    for note in notes(table, label):
        console.print(f"  {note}", markup=False, highlight=False)


def cells(table: Table, label: str) -> tuple[list[str], list[list[str]]]:
    """Headings and text cells of one block: the metrics by which tasks are judged, without empty columns."""
    block = table.frame[table.frame["block"] == label]
    present = [column for column in table.columns if column.primary and block[column.name].notna().any()]
    scores = [entry for entry in SCORES if block[entry[0]].notna().any()]
    costs = [entry for entry in COSTS if block[entry[0]].notna().any()]
    headings = ["system", "source", *(c.heading for c in present), *(e[1] for e in (*scores, *costs))]
    rows = []
    for row in block.to_dict("records"):
        cell = [_number(row[name], digits) for name, _, digits in (*scores, *costs)]
        rows.append([str(row["title"]), _source(row), *(_metric(row, column) for column in present), *cell])
    return headings, rows


def notes(table: Table, label: str) -> list[str]:
    """What the rows of one block have to say: failed cells, absent values, the hardware."""
    block = table.frame[table.frame["block"] == label]
    said = [f"{row['title']}: {row['notes']}" for row in block.to_dict("records") if not pd.isna(row["notes"])]
    machines = list(dict.fromkeys(block["costs_measured_on"].dropna()))
    return said + [f"throughput and memory measured on {machine}" for machine in machines]


def _source(row: dict[Hashable, Any]) -> str:
    if row["source"] == "published" or row["origin"] == "run":
        return str(row["source"])
    return f"{row['source']}, {row['origin']}"


def _metric(row: dict[Hashable, Any], column: Column) -> str:
    text = _number(row[column.name], 2)
    std, n_seeds = row.get(f"{column.name}_std"), row.get(f"{column.name}_n_seeds")
    return text if std is None or pd.isna(std) else f"{text} ± {std:.2f} ({n_seeds})"


def _number(value: Any, digits: int) -> str:
    return ABSENT if value is None or pd.isna(value) else f"{value:.{digits}f}"
