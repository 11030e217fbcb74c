"""One task, or one score, as bars with intervals: best first, or in the table's order where nothing is ranked."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt

from skill_bench.report.render.figure_files import ROLES, Datasets, Row, Spec
from skill_bench.report.render.rows import Named
from skill_bench.report.statistics.interval import Interval
from skill_bench.report.table.columns import Column
from skill_bench.report.table.quantities import Quantity

MOST_BARS = 30
STEP = 20
_NAME_SHARE, _LETTER = 0.55, 7.6
"""Of the bars' width, at most, for a name; pixels of a letter."""


def task_bars(
    rows: Sequence[Named], column: Column, *, width: int = 420, most: int | None = MOST_BARS, ranked: bool = True
) -> Spec | None:
    """The metric that judges a task; None where no row has it.

    Args:
        most: The first so many; None for all.
        ranked: Best first; else the rows' order stays.
    """
    cells = {named.number: cell for named in rows if (cell := named.row.scores.get(column.name)) is not None}
    found = [
        _bar(named, cells[named.number].value, cells[named.number].interval) for named in rows if named.number in cells
    ]
    if ranked:
        found = _best_first(found, higher_is_better=column.higher_is_better)
    return _bars(found[:most], column.heading, width=width)


def score_bars(
    rows: Sequence[Named], score: Quantity, *, width: int = 420, most: int | None = MOST_BARS
) -> Spec | None:
    """A score of whole systems; None where no row has it."""
    found = [
        _bar(named, value, named.row.intervals.get(score.name))
        for named in rows
        if (value := named.row.value(score)) is not None
    ]
    found = _best_first(found, higher_is_better=score.better == "higher")
    return _bars(found[:most], score.heading, width=width)


def _bar(named: Named, value: float, interval: Interval | None) -> Row:
    ends = {} if interval is None else {"low": interval.low, "high": interval.high}
    # Bars are told apart by their number: two systems of one name are two bars.
    return {**named.identity, "key": str(named.number), "value": value, **ends}


def _best_first(bars: list[Row], *, higher_is_better: bool) -> list[Row]:
    return sorted(bars, key=lambda bar: -bar["value"] if higher_is_better else bar["value"])


def _bars(shown: list[Row], title: str, *, width: int) -> Spec | None:
    if not shown:
        return None
    data = Datasets()
    limit = max(110, round(width * _NAME_SHARE))
    shown = [{**bar, "name": _shortened(bar["label"], round(limit / _LETTER))} for bar in shown]
    roles = alt.Color("role:N").scale(domain=list(ROLES)).legend(None)
    base = alt.Chart(data(shown)).encode(alt.Y("key:N").sort([bar["key"] for bar in shown]).axis(None))
    ends = [bar[end] for bar in shown for end in ("value", "low", "high") if end in bar]
    x = alt.X("value:Q").title(title).axis(tickCount=5).scale(domain=[min(0, *ends), max(0, *ends)], nice=True)
    bars = base.mark_bar(height={"band": 0.7}).encode(
        x, roles,
        alt.FillOpacityValue(0.9, condition={"test": "datum.source === 'published'", "value": 0.4}),
        tooltip=[
            alt.Tooltip("label:N", title="system"), alt.Tooltip("value:Q", title=title, format=".2f"),
            alt.Tooltip("low:Q", title="95 % from", format=".2f"), alt.Tooltip("high:Q", title="to", format=".2f"),
        ],
    )  # fmt: skip
    whiskers = [base.mark_rule(style="whisker").encode(alt.X("low:Q"), alt.X2("high:Q"))]
    whiskers += [
        base.mark_tick(style="whisker", height=6, thickness=1.2).encode(alt.X(f"{end}:Q")) for end in ("low", "high")
    ]
    whiskers = whiskers if any("low" in bar for bar in shown) else []
    names = base.mark_text(align="right", baseline="middle", limit=limit).encode(
        alt.XValue(-8),  # type: ignore[no-untyped-call]
        alt.Text("name:N"),
    )
    chart = alt.layer(bars, *whiskers, names).properties(width=width, height={"step": STEP})
    return data.of(chart)


def _shortened(label: str, most: int) -> str:
    """Its beginning and its end: what tells names of one system apart, such as its form, stands last."""
    if len(label) <= most:
        return label
    last = (most - 1) // 2
    return f"{label[: most - 1 - last].rstrip()}…{label[-last:].lstrip()}"
