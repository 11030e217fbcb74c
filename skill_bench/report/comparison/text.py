"""A comparison of two systems as text and as CSV."""

from __future__ import annotations

import csv
import io
import textwrap
from collections.abc import Sequence
from typing import Any

from tabulate import tabulate

from skill_bench.base.escape import spreadsheet
from skill_bench.report.comparison.compare import SystemComparison, verdict
from skill_bench.report.statistics.interval import Interval

WIDTH = 80
_COLUMNS = (
    "section", "a", "b", "task", "metric", "unit", "a_value", "b_value", "difference_points", "low_points",
    "high_points", "p_value", "p_value_holm", "units", "n_units", "a_n_seeds", "b_n_seeds", "method", "verdict",
)  # fmt: skip


def to_text(found: SystemComparison) -> str:
    """Who is compared and where each was measured; numbers, a row a task; what they say in words; notes. 80 columns."""
    rows = [
        [
            task.column.heading,
            f"{task.found.a:.2f}",
            f"{task.found.b:.2f}",
            *_difference(task.found.difference, task.found.interval),
            p_text(task.found.p_value),
            p_text(task.p_holm),
        ]
        for task in found.tasks
    ]
    said = [f"{task.column.task}: {task.verdict}" for task in found.tasks]
    if (mean := found.mean) is not None:
        in_words = verdict(
            mean.difference,
            mean.interval.low,
            mean.interval.high,
            shown=mean.p_value < found.level,
            a=found.a,
            b=found.b,
        )
        rows.append(["mean, points", "", "", *_difference(mean.difference, mean.interval), p_text(mean.p_value), ""])
        said.append(f"mean: {in_words}")
    headings = ["", "A", "B", "B minus A", f"{100 * (1 - found.level):g} % interval", "p", "p Holm"]
    align = ["left", *["right"] * 6]
    sides = [
        f"{side}: {name}, {where}" for side, name, where in zip("AB", (found.a, found.b), found.measured, strict=True)
    ]
    grid = tabulate(rows, headings, "simple", colalign=align, disable_numparse=True) if rows else "nothing to compare"
    notes = ["B minus A is in points, higher better: error rates count as 100 minus them.", *found.notes]
    blocks = [[found.section], sides, [grid], said, notes]
    return "\n\n".join("\n".join(_filled(block)) for block in blocks if block) + "\n"


def _filled(block: Sequence[str]) -> list[str]:
    """Lines that are too long, broken; tables stay as they are."""
    return [line if "\n" in line else textwrap.fill(line, WIDTH, subsequent_indent="  ") for line in block]


def rows_of(found: SystemComparison) -> list[dict[str, Any]]:
    """A row a task in full precision, units in the names."""
    return [
        {
            "section": found.section,
            "a": found.a,
            "b": found.b,
            "task": task.column.task,
            "metric": task.column.metric,
            "unit": task.column.unit,
            "a_value": task.found.a,
            "b_value": task.found.b,
            "difference_points": task.found.difference,
            "low_points": task.found.interval.low,
            "high_points": task.found.interval.high,
            "p_value": task.found.p_value,
            "p_value_holm": task.p_holm,
            "units": task.found.units,
            "n_units": task.found.n_units,
            "a_n_seeds": task.found.n_seeds[0],
            "b_n_seeds": task.found.n_seeds[1],
            "method": task.found.method,
            "verdict": task.verdict,
        }
        for task in found.tasks
    ]


def to_csv(found: Sequence[SystemComparison]) -> str:
    """The rows of all sections, as text that no spreadsheet computes."""
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in (row for one in found for row in rows_of(one)):
        writer.writerow({name: spreadsheet(value) for name, value in row.items()})
    return text.getvalue()


def p_text(p: float) -> str:
    """Three digits; very small ones as a bound, since 10,000 permutations say no more."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _difference(difference: float, interval: Interval) -> list[str]:
    return [signed(difference, 2), f"[{signed(interval.low, 1)}, {signed(interval.high, 1)}]"]


def signed(value: float, digits: int) -> str:
    """With its sign; what rounds to zero is ``+0``."""
    return f"{round(value, digits) + 0.0:+.{digits}f}"  # adding 0 makes -0 a 0
