"""How the evidence page writes one number, one table, one list."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from tabulate import tabulate

from skill_bench.report.render.layout import ABSENT
from skill_bench.report.statistics.interval import Interval
from skill_bench.report.statistics.paired import Comparison, Overall
from skill_bench.report.table.quantities import Quantity
from skill_bench.report.table.table import Section
from skill_bench.sweep.report.groups import Estimate, Group
from skill_bench.sweep.report.readings import Difference

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


def estimate(found: Estimate | None, *, decimals: int = 1) -> str:
    """``77.3 [75.2, 79.3]``."""
    return ABSENT if found is None else _with_interval(found.value, found.interval, sign="", decimals=decimals)


def difference(found: Comparison | Overall | Difference | None, *, decimals: int = 1) -> str:
    """``+0.7 [-0.4, +1.8]``."""
    return ABSENT if found is None else _with_interval(found.difference, found.interval, sign="+", decimals=decimals)


def spread(values: Iterable[float | None], *, decimals: int) -> str:
    """From the least to the most of those that are known, where they differ as printed."""
    texts = sorted({f"{value:.{decimals}f}" for value in values if value is not None}, key=float)
    return ABSENT if not texts else texts[0] if len(texts) == 1 else f"{texts[0]}–{texts[-1]}"


def changed(changes: Mapping[str, tuple[Any, Any]]) -> str:
    """``groups.n_groups 4 → 2, loss.heads per_group → shared``."""
    return ", ".join(f"{key} {_option(before)} → {_option(after)}" for key, (before, after) in changes.items())


def _option(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def cost(quantity: Quantity) -> More:
    """A column of what the rows cost."""
    decimals = quantity.decimals or 0
    return quantity.heading, lambda group: spread((r.value(quantity) for r in group.rows.values()), decimals=decimals)


def grid(rows: Sequence[Sequence[str]], headings: Sequence[str]) -> str:
    """A Markdown table."""
    return tabulate(rows, headings, "github", disable_numparse=True)


def bullets(lines: Sequence[str]) -> str:
    """A Markdown list."""
    return "\n".join(f"- {line}" for line in lines)


def _with_interval(value: float, interval: Interval | None, *, sign: str, decimals: int) -> str:
    form = f"{sign}.{decimals}f"
    ends = "" if interval is None else f" [{interval.low:{form}}, {interval.high:{form}}]"
    return f"{value:{form}}{ends}"


def seeds(group: Group) -> str:
    """``3 x 2``: distillation seeds, and probe seeds a task."""
    fewest, most = group.n_probe_seeds
    probes = f"{most}" if fewest == most else f"{fewest}–{most}"
    return f"{len(group.rows) if group.is_student else ABSENT} x {probes}"
