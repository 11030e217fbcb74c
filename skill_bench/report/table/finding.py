"""What a section found, in one sentence: what students keep of their teacher, at which size, and who is told apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from statistics import fmean

import numpy as np

from skill_bench.report.statistics.interval import LEVEL, Interval
from skill_bench.report.statistics.mean import Part, retention_interval
from skill_bench.report.statistics.paired import overall_of
from skill_bench.report.table.columns import Column
from skill_bench.report.table.quantities import MEAN, PARAMETERS
from skill_bench.report.table.relative import teacher_of
from skill_bench.report.table.table import FEW_TASKS, SystemRow
from skill_bench.report.table.whole import Parts, Ways, differences_of, knows_speakers, on_shared_units, over_items

Found = tuple[SystemRow, Ways]
"""A row and its part in the mean of each judged column, in each way of drawing."""
METHODS = ("skill", "dphubert")
"""The two that this package is about."""
_SPEAKERS = " for other speakers"


def finding_of(rows: Sequence[tuple[SystemRow, Parts]], judged: Sequence[Column]) -> str | None:
    """For example: ``On KS alone, 5 students keep 99 ± 4 % of their teacher (± 12 % for other speakers) at 25 % of its
    size; SKILL and DPHuBERT are not told apart (-0.5 ± 1.5 points for other speakers).``

    Of students with every task and a teacher in the section, all of one teacher; None where there are none. Two are
    told apart by the test that ranks them, over speakers where these are known.

    Args:
        rows: With the ranks that they share, each with its parts of the judged columns, as of
            `skill_bench.report.table.whole`.
        judged: The columns in the mean.
    """
    plain = [row for row, _ in rows]
    known = {id(row): found for row, parts in rows if (found := _ways(row, parts, judged))}
    students = [(row, teacher_of(row, plain)) for row in plain if row.kind == "student" and id(row) in known]
    teacher = next((of for _, of in students if of is not None and id(of) in known), None)
    own = [(row, known[id(row)]) for row, of in students if of is teacher]
    if teacher is None or not own:
        return None
    kept = _kept(own, (teacher, known[id(teacher)]))
    return f"{_over(judged)}{kept}{''.join(_apart(own))}." if kept else None


def _over(judged: Sequence[Column]) -> str:
    """What the sentence is about, where few tasks are in the mean."""
    if len(judged) > FEW_TASKS:
        return ""
    names = [column.task.upper() for column in judged]
    return f"On {' and '.join(names)}{' alone' if len(names) == 1 else ''}, "


def _ways(row: SystemRow, parts: Parts, judged: Sequence[Column]) -> Ways:
    """One a column; empty unless the row has a rank and every part."""
    if row.rank is None or not parts.keys() >= {column.name for column in judged}:
        return []
    return [parts[column.name] for column in judged]


def _kept(students: Sequence[Found], teacher: Found) -> str | None:
    its, *own = [over_items(ways) for _, ways in (teacher, *students)]
    if any(on_shared_units(ways, its) is None for ways in own):
        return None
    share = 100 * fmean(float(row.value(MEAN) or 0) for row, _ in students) / float(teacher[0].value(MEAN) or 1)
    one = len(students) == 1
    names = f"{students[0][0].title} keeps" if one else f"{len(students)} students keep"
    around = _half(_retained(own, its), " ± {:.0f}")
    said = f"{names} {share:.0f}{around} % of {'its' if one else 'their'} teacher"
    if all(knows_speakers(ways) for _, ways in (teacher, *students)):
        said += _half(_retained([ways for _, ways in students], teacher[1]), f" (± {{:.0f}} %{_SPEAKERS})")
    sizes = [size for row, _ in students if (size := row.value(PARAMETERS))]
    whole = teacher[0].value(PARAMETERS)
    if not whole or not sizes:
        return said
    low, high = (round(100 * size / whole) for size in (min(sizes), max(sizes)))
    return f"{said} at {low if low == high else f'{low} to {high}'} % of its size"


def _retained(students: Sequence[Ways], teacher: Ways) -> Interval | None:
    """Of all students as one; None also where some know other units than the others."""
    pairs = [pair for ways in students if (pair := on_shared_units(ways, teacher)) is not None]
    its = pairs[0][1] if len(pairs) == len(students) else []
    if not its or any(part is not other for _, of in pairs for part, other in zip(of, its, strict=True)):
        return None
    return retention_interval([_pooled(own) for own in zip(*(own for own, _ in pairs), strict=True)], its)


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
    """Whether the test that ranks tells SKILL and DPHuBERT apart; where one is missing, the first two students."""
    by_name = {row.system: (row, ways) for row, ways in students}
    if len(students) < 2:
        return
    (a, ours), (b, theirs) = [by_name[name] for name in METHODS] if by_name.keys() >= {*METHODS} else students[:2]
    differences = differences_of((b, theirs), (a, ours))
    if differences is None:
        return
    found = overall_of(differences)
    by_speaker = any(one.units != ways[-1].units for one, ways in zip(differences, ours, strict=True))
    points = f"{abs(found.difference):.1f}{_half(found.interval, ' ± {:.1f}')} points{_SPEAKERS if by_speaker else ''}"
    if found.p_value >= 1 - LEVEL:
        yield f"; {a.title} and {b.title} are not told apart ({'+' if found.difference > 0 else '−'}{points})"
    elif a.rank == b.rank:  # not once it is corrected for all rows
        yield f"; {a.title} and {b.title} are too close to call"
    else:
        better, other = (a, b) if found.difference > 0 else (b, a)
        yield f"; {better.title} is better than {other.title} by {points}"


def _half(interval: Interval | None, form: str) -> str:
    return "" if interval is None else form.format((interval.high - interval.low) / 2)
