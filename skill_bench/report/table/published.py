"""Numbers from papers and the public board: ``leaderboard/published/<suite>.csv``, a row a system."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from skill_bench.base.errors import RecordError, suggest
from skill_bench.base.text import csv_rows, number
from skill_bench.report.table.columns import published_column
from skill_bench.report.table.quantities import publishable

_TEXT = ("system", "role", "teacher", "distillation_data", "source")
ROLES = ("teacher", "student", "baseline")


@dataclass(frozen=True, kw_only=True)
class PublishedRow:
    """One system as somebody else reported it; ``values`` by column name, None where nothing was published."""

    suite: str
    system: str
    role: str | None = None
    teacher: str | None
    distillation_data: str | None
    citation: str
    values: dict[str, float | None]


def published_rows(folder: Path) -> tuple[list[PublishedRow], tuple[str, ...]]:
    """The rows that can be used, and what is wrong with the others, by file and line.

    Wrong are: no file at all, an unknown column (the whole file is left out), a cell that is no number, a row without
    system or source, and one name for several rows (all of them are left out).
    """
    paths = sorted(folder.glob("*.csv"))
    if not paths:
        return [], (f"{folder}: holds no *.csv. Reinstall skill-bench, or name another folder.",)
    rows: list[PublishedRow] = []
    problems: list[str] = []
    for path in paths:
        try:
            own, wrong = _read(path)
        except RecordError as error:
            problems.append(str(error))
        else:
            rows += own
            problems += wrong
    return rows, tuple(problems)


def _read(path: Path) -> tuple[list[PublishedRow], list[str]]:
    found: dict[str, list[tuple[int, PublishedRow]]] = defaultdict(list)
    problems = []
    columns, rows = csv_rows(path, error=RecordError)
    _check_columns(path, columns)
    for line, values in rows:
        try:
            row = _row(path, line, columns, values)
            found[row.system].append((line, row))
        except RecordError as error:
            problems.append(str(error))
    for system, several in found.items():
        if len(several) > 1:
            lines = ", ".join(str(line) for line, _ in several)
            problems.append(
                f"{path}: {system!r} is there {len(several)} times (lines {lines}); none of them is used. Keep one "
                "row, or tell them apart by name."
            )
    return [several[0][1] for several in found.values() if len(several) == 1], problems


def _check_columns(path: Path, columns: list[str]) -> None:
    for needed in ("system", "source"):
        if needed not in columns:
            raise RecordError(f"{path}: has no column {needed!r}. Add it; every row must say where it is from.")
    numbers = publishable()
    for name in columns:
        if name not in _TEXT and name not in numbers and published_column(name) is None:
            known = (*_TEXT, *numbers, "ks_accuracy_percent")
            raise RecordError(
                f"{path}: unknown column {name!r}. {suggest(name, known)}"
                "A metric is named task_metric_unit, as in ks_accuracy_percent."
            )


def _row(path: Path, line: int, columns: list[str], values: list[str]) -> PublishedRow:
    where = f"{path}:{line}"
    if len(values) != len(columns):
        raise RecordError(f"{where}: has another number of cells than the heading. Quote cells that hold commas.")
    cells = dict(zip(columns, values, strict=True))
    if not cells["system"].strip():
        raise RecordError(f"{where}: has no system. Name it, or delete the line.")
    if not cells["source"].strip():
        raise RecordError(f"{where}: {cells['system']!r} has no source. Cite where its numbers were published.")
    role = cells.get("role") or None
    if role is not None and role not in ROLES:
        raise RecordError(f"{where}: role is {role!r}, expected {', '.join(ROLES)} or nothing.")
    return PublishedRow(
        suite=path.stem,
        system=cells["system"].strip(),
        role=role,
        teacher=cells.get("teacher") or None,
        distillation_data=cells.get("distillation_data") or None,
        citation=cells["source"].strip(),
        values={name: _number(where, name, cell) for name, cell in cells.items() if name not in _TEXT},
    )


def _number(where: str, name: str, cell: str) -> float | None:
    if not cell.strip():
        return None
    if math.isnan(value := number(cell)):
        raise RecordError(f"{where}: {name} is {cell!r}, not a number. Leave unpublished cells empty.")
    return value
