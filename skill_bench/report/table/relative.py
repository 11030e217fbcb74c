"""What a row is as a whole and beside the others of its section: its mean, ranks, how much of its teacher it keeps."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from skill_bench.report.table.columns import Column
from skill_bench.report.table.quantities import MEAN, RETENTION, Quantity
from skill_bench.report.table.table import Score, SystemRow


def with_mean(row: SystemRow, judged: Sequence[Column | None]) -> SystemRow:
    """The row with its mean over the judged tasks, higher better; without one unless every task is there.

    A task whose every cell failed has no column, and makes every row incomplete.
    """
    points = []
    for column in judged:
        cell = None if column is None else row.scores.get(column.name)
        if cell is None or not cell.column.has_points:
            return row
        points.append(cell.points)
    return replace(row, quantities={**row.quantities, MEAN.name: statistics.fmean(points)}) if points else row


def with_ranks(rows: Iterable[SystemRow], *, by: Quantity) -> list[SystemRow]:
    """The rows with ranks by a score and in every cell, best first; rows without a rank last.

    Equal values share a rank.
    """
    rows = list(rows)
    scores = [row.value(by) for row in rows]
    points: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        for name, cell in row.scores.items():
            points[name].append(cell.points)

    def ranked(row: SystemRow) -> SystemRow:
        cells = {name: replace(cell, rank=place(cell.points, points[name])) for name, cell in row.scores.items()}
        return replace(row, scores=cells, rank=place(row.value(by), scores))

    done = [ranked(row) for row in rows]
    return sorted(done, key=lambda r: (r.rank is None, r.rank or 0, r.title.lower(), r.origin, r.identity or ""))


def with_retention(rows: Sequence[SystemRow], *, by: Quantity) -> list[SystemRow]:
    """The rows with what they keep of their own teacher, in per cent of its points and of its score.

    The teacher is the row of the section with the student's ``teacher`` as its name, from the same origin if that has
    one. Where the student's checkpoint names its teacher's hash, a teacher of another hash does not count. A teacher
    with fewer than one point gives no retention.
    """
    return [row if (teacher := teacher_of(row, rows)) is None else _retention(row, teacher, by) for row in rows]


def place(value: float | None, values: Iterable[float | None]) -> int | None:
    """The rank of ``value`` among ``values``, the highest first; equal ones share it, and what is absent has none."""
    return None if value is None else 1 + sum(other is not None and other > value for other in values)


def _retention(row: SystemRow, teacher: SystemRow, by: Quantity) -> SystemRow:
    def kept(cell: Score) -> float | None:
        of = teacher.scores.get(cell.column.name)
        return _percent(cell.points, of.points) if of is not None and cell.column.has_points else None

    cells = {name: replace(cell, retention_percent=kept(cell)) for name, cell in row.scores.items()}
    own, its = row.value(by), teacher.value(by)
    retention = None if own is None or its is None else _percent(own, its)
    known = {} if retention is None else {RETENTION.name: retention}
    return replace(row, scores=cells, quantities={**row.quantities, **known})


def teacher_of(row: SystemRow, rows: Sequence[SystemRow]) -> SystemRow | None:
    """The row of its own teacher, see :func:`with_retention`."""
    named = [other for other in rows if row.teacher is not None and other.system == row.teacher and other is not row]
    wanted = _detail(row, "teacher_sha256")
    fitting = [t for t in named if wanted is None or _checkpoint(t) in (None, wanted)]
    same_origin = [teacher for teacher in fitting if teacher.origin == row.origin]
    return next(iter(same_origin or fitting), None)


def _detail(row: SystemRow, name: str) -> str | None:
    found = row.entries[-1].record.system.details.get(name) if row.entries else None
    return found if isinstance(found, str) else None


def _checkpoint(row: SystemRow) -> str | None:
    return row.entries[-1].record.system.checkpoint_sha256 if row.entries else None


def _percent(own: float, of: float) -> float | None:
    return 100 * own / of if of >= 1 else None
