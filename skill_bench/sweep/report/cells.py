"""How the evidence page writes one number, one table, one list."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tabulate import tabulate

from skill_bench.report.render.layout import ABSENT
from skill_bench.report.statistics.interval import Interval
from skill_bench.report.statistics.paired import Comparison, Overall
from skill_bench.report.table.quantities import Quantity
from skill_bench.report.table.table import Section
from skill_bench.sweep.report.groups import Estimate, Group

More = tuple[str, Callable[[Group], str]]
"""A further column: its heading, and its text for a row."""


def systems(section: Section, groups: Sequence[Group], more: Sequence[More]) -> str:
    """A row a group: every metric, the seeds, and ``more``."""
    headings = ["system", *(c.heading for c in section.shown), "seeds", *(heading for heading, _ in more)]
    rows = [
        [
            group.title,
            *(estimate(group.metric(column)) for column in section.shown),
            seeds(group),
            *(text(group) for _, text in more),
        ]
        for group in groups
    ]
    return grid(rows, headings)


def estimate(found: Estimate | None) -> str:
    """``77.3 [75.2, 79.3]``."""
    return ABSENT if found is None else _with_interval(found.value, found.interval, sign="")


def difference(found: Comparison | Overall | None) -> str:
    """``+0.7 [-0.4, +1.8]``."""
    return ABSENT if found is None else _with_interval(found.difference, found.interval, sign="+")


def cost(quantity: Quantity) -> More:
    """A column of what the rows cost; from the least to the most where they differ."""

    def spread(group: Group) -> str:
        values = (row.value(quantity) for row in group.rows.values())
        texts = sorted({quantity.text(value, absent=ABSENT) for value in values if value is not None}, key=float)
        return ABSENT if not texts else texts[0] if len(texts) == 1 else f"{texts[0]}–{texts[-1]}"

    return quantity.heading, spread


def grid(rows: Sequence[Sequence[str]], headings: Sequence[str]) -> str:
    """A Markdown table."""
    return tabulate(rows, headings, "github", disable_numparse=True)


def bullets(lines: Sequence[str]) -> str:
    """A Markdown list."""
    return "\n".join(f"- {line}" for line in lines)


def _with_interval(value: float, interval: Interval | None, *, sign: str) -> str:
    ends = "" if interval is None else f" [{interval.low:{sign}.1f}, {interval.high:{sign}.1f}]"
    return f"{value:{sign}.1f}{ends}"


def seeds(group: Group) -> str:
    """``3 x 2``: distillation seeds, and probe seeds a task."""
    fewest, most = group.n_probe_seeds
    probes = f"{most}" if fewest == most else f"{fewest}–{most}"
    return f"{len(group.rows) if group.is_student else ABSENT} x {probes}"
