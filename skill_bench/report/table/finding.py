"""What a section found, in one sentence: what students keep of their teacher, at which size, and who is told apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from statistics import fmean

import numpy as np

from skill_bench.report.statistics.interval import LEVEL, Interval
from skill_bench.report.statistics.mean import Part, difference_of, retention_interval
from skill_bench.report.statistics.paired import overall_of
from skill_bench.report.table.columns import Column
from skill_bench.report.table.quantities import MEAN, PARAMETERS
from skill_bench.report.table.relative import teacher_of
from skill_bench.report.table.table import SystemRow
from skill_bench.report.table.whole import Parts

Found = tuple[SystemRow, list[Part]]
"""A row and its part in the mean of each judged column."""
_ASKED = ("skill", "dphubert")
"""The two methods that this package is about."""


def finding_of(rows: Sequence[tuple[SystemRow, Parts]], judged: Sequence[Column]) -> str | None:
    """For example: ``5 students keep 99 ± 4 % of their teacher at 25 % of its size; SKILL and DPHuBERT are not told
    apart (-0.5 ± 1.5 points).``

    Of students with every task and a teacher in the section, all of one teacher; None where there are none.

    Args:
        rows: Each with its parts of the judged columns, as of `skill_bench.report.table.whole`.
        judged: The columns in the mean.
    """
    plain = [row for row, _ in rows]
    known = {id(row): found for row, parts in rows if (found := _parts(row, parts, judged))}
    students = [(row, teacher_of(row, plain)) for row in plain if row.kind == "student" and id(row) in known]
    teacher = next((of for _, of in students if of is not None and id(of) in known), None)
    own = [(row, known[id(row)]) for row, of in students if of is teacher]
    if teacher is None or not own:
        return None
    kept = _kept(own, (teacher, known[id(teacher)]))
    return f"{kept}{''.join(_apart(own))}." if kept else None


def _parts(row: SystemRow, parts: Parts, judged: Sequence[Column]) -> list[Part]:
    """One a column; empty unless the row has a mean and every part."""
    if row.value(MEAN) is None or not parts.keys() >= {column.name for column in judged}:
        return []
    return [parts[column.name][-1] for column in judged]  # over items, which all rows have


def _kept(students: Sequence[Found], teacher: Found) -> str | None:
    units = [part.units for part in teacher[1]]
    if any([part.units for part in parts] != units for _, parts in students):
        return None
    interval = retention_interval(
        [_pooled(own) for own in zip(*(parts for _, parts in students), strict=True)], teacher[1]
    )
    share = 100 * fmean(float(row.value(MEAN) or 0) for row, _ in students) / float(teacher[0].value(MEAN) or 1)
    one = len(students) == 1
    names = f"{students[0][0].title} keeps" if one else f"{len(students)} students keep"
    said = f"{names} {_around(share, interval)} % of {'its' if one else 'their'} teacher"
    sizes = [size for row, _ in students if (size := row.value(PARAMETERS))]
    whole = teacher[0].value(PARAMETERS)
    if not whole or not sizes:
        return said
    low, high = (round(100 * size / whole) for size in (min(sizes), max(sizes)))
    return f"{said} at {low if low == high else f'{low} to {high}'} % of its size"


def _pooled(parts: Sequence[Part]) -> Part:
    """Several students as one whose repetitions are all of theirs."""
    repetitions = {f"{n} {name}": value for n, part in enumerate(parts) for name, value in part.repetitions[0].items()}
    return replace(
        parts[0],
        value=fmean(part.value for part in parts),
        draws=np.mean([part.draws for part in parts], axis=0),
        repetitions=(repetitions,),
        optimism=fmean(part.optimism for part in parts),
    )


def _apart(students: Sequence[Found]) -> Iterator[str]:
    """Whether the paired test tells SKILL and DPHuBERT apart; where one is missing, the first two students."""
    by_name = {row.system: (row, parts) for row, parts in students}
    if len(students) < 2:
        return
    (a, ours), (b, theirs) = [by_name[name] for name in _ASKED] if by_name.keys() >= {*_ASKED} else students[:2]
    if any(x.units != y.units for x, y in zip(ours, theirs, strict=True)):
        return
    found = overall_of([difference_of(y, x) for x, y in zip(ours, theirs, strict=True)])
    half = (found.interval.high - found.interval.low) / 2
    points = f"{abs(found.difference):.1f} ± {half:.1f} points"
    if found.p_value >= 1 - LEVEL:
        yield f"; {a.title} and {b.title} are not told apart ({'+' if found.difference > 0 else '−'}{points})"
    else:
        better, other = (a, b) if found.difference > 0 else (b, a)
        yield f"; {better.title} is better than {other.title} by {points}"


def _around(value: float, interval: Interval | None) -> str:
    return f"{value:.0f}" if interval is None else f"{value:.0f} ± {(interval.high - interval.low) / 2:.0f}"
