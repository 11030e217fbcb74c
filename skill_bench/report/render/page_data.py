"""What the page shows, as one JSON object: the table's frame as it is, and what its columns and rows mean."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd

from skill_bench import __version__
from skill_bench.base.archive import inside
from skill_bench.base.errors import RecordError
from skill_bench.records.record import Record
from skill_bench.report.render.frame import to_frame
from skill_bench.report.render.students import layers_alike, learning
from skill_bench.report.table.columns import Column
from skill_bench.report.table.entry import FoundRecord, newest
from skill_bench.report.table.quantities import quantities
from skill_bench.report.table.quantity import Quantity
from skill_bench.report.table.table import Section, SystemRow, Table

Json = dict[str, Any]


def page_data(table: Table, *, folder: Path, bibliography: str) -> Json:
    """Everything the page's script reads.

    Args:
        folder: of the page, for relative links to records.
    """
    frame = to_frame(table)
    return {
        "version": __version__,
        "frame": {"columns": list(frame.columns), "rows": [[_plain(v) for v in row] for row in frame.to_numpy(object)]},
        "sections": [_section(section) for section in table.sections],
        "details": [_details(row, folder) for section in table.sections for row in section.rows],
        "bibliography": bibliography,
    }


def copy_of(entry: FoundRecord, folder: Path) -> Path | None:
    """Where a page in ``folder`` keeps a record that lies in an archive, into which no link can lead; else None."""
    found = None if entry.file is None else inside(entry.file)
    return None if found is None else folder / "records" / entry.origin / found[1]


def _plain(value: Any) -> Any:
    """A cell as JSON has it: numpy's numbers as Python's, what is absent as null."""
    if value is None or value is pd.NA or value != value:
        return None
    return value.item() if hasattr(value, "item") else value


def _section(section: Section) -> Json:
    """The columns to show of one section: scores, costs, tasks, without empty ones."""
    rows = section.rows
    printed = quantities("score", printed=True) + quantities("cost", printed=True)
    columns = [_quantity(one) for one in printed if any(row.value(one) is not None for row in rows)]
    columns += [_judged(column) for column in section.shown if any(column.name in row.scores for row in rows)]
    return {
        "label": section.label,
        "suite": section.suite,
        "synthetic": section.synthetic,
        "published": section.source == "published",
        "machines": list(dict.fromkeys(row.measured_on for row in rows if row.measured_on)),
        "columns": columns,
    }


def _judged(column: Column) -> Json:
    better = "higher" if column.higher_is_better else "lower"
    return _column(column.name, column.heading, "task", 2, better) | {"task": column.task}


def _quantity(one: Quantity) -> Json:
    column = _column(one.name, one.heading, one.kind, one.decimals, one.better)
    return column if one.description is None else column | {"description": one.description}


def _column(name: str, heading: str, group: str, digits: int | None, better: str) -> Json:
    return {"name": name, "heading": heading, "group": group, "digits": digits, "better": better}


def _details(row: SystemRow, folder: Path) -> Json | None:
    """A row's records and what they say about the model; None for a published row."""
    if not row.entries:
        return None
    entries = sorted(row.entries, key=lambda entry: (entry.record.key.task, entry.record.key.seed))
    last = newest(entries)
    details: Json = {
        "about": {name: value for name, value in _about(last).items() if value is not None},
        "records": [_record(entry, folder) for entry in entries],
        "no_interval": {name: cell.no_interval for name, cell in row.scores.items() if cell.no_interval is not None},
    }
    # What is wrong with either is among the table's problems.
    with suppress(RecordError):
        if (alike := layers_alike(last.system)) is not None:
            details["similarity"] = alike
    with suppress(RecordError):
        if stages := learning(last.system):
            details["curves"] = stages
    return details


def _about(last: Record) -> dict[str, str | None]:
    provenance, git = last.provenance, last.provenance.git
    return {
        "teacher": last.system.teacher,
        "licence": last.system.licence,
        "checkpoint sha256": last.system.checkpoint_sha256,
        "skill-bench": provenance.skill_bench_version,
        "git": None if git is None else git.commit[:12] + (", with changes" if git.dirty else ""),
        "torch": provenance.packages.get("torch"),
        "hardware": provenance.hardware.cpu_model,
        "newest record": provenance.started_at[:10],
    }


def _record(found: FoundRecord, folder: Path) -> Json:
    record = found.record
    entry: Json = {"task": record.key.task, "seed": record.key.seed, "metric": record.metric}
    if found.file is not None:
        entry["href"] = quote(Path(os.path.relpath(copy_of(found, folder) or found.file, folder)).as_posix())
    if (metric := record.metrics.get(record.metric)) is not None:
        entry |= {"value": metric.value, "numerator": metric.numerator, "denominator": metric.denominator}
    if record.data is not None:
        entry |= {
            "version": record.key.task_version,
            "data": record.data.fingerprint[:12],
            "n_test": record.data.n_test,
        }
    if record.selection is not None and record.selection.learning_rate is not None:
        entry["learning_rate"] = record.selection.learning_rate
    if len(record.layer_weights) > 1:
        entry["layer_weights"] = [round(weight, 5) for weight in record.layer_weights]
    if record.error is not None:
        entry["error"] = f"{record.error.type}: {record.error.message}"
    return entry
