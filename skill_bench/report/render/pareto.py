"""Quality against cost: who is beaten by nobody at their price."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

import altair as alt

from skill_bench.base.counted import counted
from skill_bench.base.errors import first_few
from skill_bench.report.render.figure_files import ROLES, Datasets, Row, Spec, words, wrapped
from skill_bench.report.render.labels import place_labels
from skill_bench.report.render.layout import averaged
from skill_bench.report.render.rows import Named
from skill_bench.report.statistics.interval import Interval
from skill_bench.report.table.finding import METHODS
from skill_bench.report.table.quantities import MEAN, SUPERB, Quantity
from skill_bench.report.table.table import Section, SystemRow

_WIDE = 500
"""Pixels from which on a plot is wider than high, and holds long names."""
_SHORT, _SHORTER = 34, 22
_LETTER = 7
"""Pixels, of a title's bold ones and of names in capitals."""
_ROLES_IN_A_ROW = 3
_MOST_BELOW = 40
"""Names below the chart; a page of hundreds has them in the table of its numbers."""
Channel = TypeVar("Channel", alt.Color, alt.Fill, alt.Shape)


@dataclass(frozen=True, kw_only=True)
class Points:
    """What is drawn, and why the rest is not: a sentence each."""

    drawn: tuple[Row, ...]
    left_out: tuple[str, ...]


def quality_of(section: Section) -> Quantity | None:
    """The score that ranks the section's systems; None where there is none."""
    return next((one for one in (SUPERB, MEAN) if any(row.value(one) is not None for row in section.rows)), None)


def points_of(rows: Sequence[Named], quality: Quantity, cost: Quantity) -> Points:
    """Every row with both numbers that the axes can hold, best first; what they cannot hold is listed instead, and so
    is what has a score and no such cost. Where some rows have a rank, the others are only counted."""
    ranked = [named for named in rows if named.row.rank is not None]
    n_unranked = sum(named.row.value(quality) is not None for named in rows if named.row.rank is None) if ranked else 0
    rows = ranked or rows
    both = [(named, named.row.value(cost), named.row.value(quality)) for named in rows]
    known = [(named, price, value) for named, price, value in both if price is not None and value is not None]
    floor = _floor([(value, named.row.intervals.get(quality.name)) for named, price, value in known if price > 0])
    drawn, left_out = [], []
    for named, price, value in sorted(known, key=lambda found: -found[2]):
        if price <= 0 or value < floor:
            costs = f"no {cost.title}" if price <= 0 else f"{cost.text(price, absent='')} {cost.unit}".rstrip()
            left_out.append(f"{named.label} ({quality.text(value, absent='')}, {costs})")
            continue
        interval = named.row.intervals.get(quality.name)
        ends = {} if interval is None else {"low": interval.low, "high": interval.high}
        drawn.append({**named.identity, "cost": price, "quality": value, **ends})
    if lacking := [named.label for named, price, value in both if price is None and value is not None]:
        left_out.append(f"{first_few(lacking, most=3)} ({cost.title} not known)")
    if n_unranked:
        left_out.append(f"{counted(n_unranked, 'system')} without a rank")
    return Points(drawn=tuple(drawn), left_out=tuple(left_out))


def front(points: Sequence[Row]) -> list[Row]:
    """Of the points, those that none beats in quality at their cost or less; cheapest first."""
    kept: list[Row] = []
    for point in sorted(points, key=lambda point: (point["cost"], -point["quality"])):
        if not kept or point["quality"] > kept[-1]["quality"]:
            kept.append(point)
    return kept


def pareto(section: Section, rows: Sequence[Named], cost: Quantity, *, width: int = 640) -> Spec | None:
    """The section's score against a cost on a logarithmic axis; None where no row has both.

    Args:
        rows: Of the section, and further ones on the same data.
        width: Of the plot in pixels: names are placed for it.
    """
    quality = quality_of(section)
    found = None if quality is None else points_of(rows, quality, cost)
    if quality is None or found is None or not found.drawn:
        return None
    height = round(width * 0.5) if width > _WIDE else width
    x, y = _domains(found.drawn)
    best = front(found.drawn)
    named = _with_names(_by_importance(found.drawn, best, rows), best, x, y, (width, height))
    unnamed = [f"{point['label']} {quality.text(point['quality'], absent='')}" for point in named if "at" not in point]
    below = (
        wrapped(f"No room for the names of {first_few(unnamed, most=_MOST_BELOW)}", width // _LETTER) if unnamed else []
    )
    roles = [role for role in ROLES if any(point["role"] == role for point in found.drawn)]
    data = Datasets()
    base = alt.Chart().encode(
        alt.X("cost:Q")
        .scale(type="log", domain=x, nice=False)
        .title([cost.axis or cost.title, *below])
        .axis(grid=False, tickCount=6, format="~g"),
        alt.Y("quality:Q")
        .scale(domain=y, nice=False, zero=False)
        .title(f"{'mean over ' + averaged(section) if quality is MEAN else quality.axis} (higher is better)"),
    )
    cheapest_first = [alt.SortField("cost"), alt.SortField("quality", order="descending")]
    stairs = (  # as `front`, but of the points that are shown: a page may hide some
        base.mark_line(style="front", interpolate="step-after")
        .transform_window(best="max(quality)", frame=[None, 0], sort=cheapest_first)
        .transform_window(place="row_number()", groupby=["best"], sort=cheapest_first)
        .transform_filter("datum.place === 1")
    )
    whiskers = base.mark_rule(strokeOpacity=0.6).encode(
        alt.Y("low:Q"), alt.Y2("high:Q"), _role(alt.Color("role:N"), roles, width)
    ).transform_filter("isValid(datum.low)")  # fmt: skip
    marks = base.mark_point(size=80, opacity=1).encode(
        _role(alt.Color("role:N"), roles, width),
        _role(alt.Fill("role:N"), roles, width),
        _role(alt.Shape("role:N"), roles, width),
        alt.FillOpacityValue(1, condition={"test": "datum.source === 'published'", "value": 0.15}),
        tooltip=[
            alt.Tooltip("label:N", title="system"),
            alt.Tooltip("quality:Q", title=quality.title, format=f".{quality.decimals or 0}f"),
            alt.Tooltip("low:Q", title="95 % from", format=f".{quality.decimals or 0}f"),
            alt.Tooltip("high:Q", title="to", format=f".{quality.decimals or 0}f"),
            alt.Tooltip("cost:Q", title=cost.axis or cost.title, format=".4~g"),
        ],
    )
    texts = [
        base.mark_text(align=align, baseline="middle")
        .encode(alt.X("at:Q"), alt.Y("up:Q"), alt.Text("short:N"))
        .transform_filter(f"datum.align === '{align}'")
        for align in ("left", "right", "center")
    ]
    leaders = base.mark_rule(style="leader").encode(alt.X2("at:Q"), alt.Y2("up:Q")).transform_filter("datum.far")
    chart = alt.layer(stairs, whiskers, marks, leaders, *texts, data=data(named))
    chart = chart.properties(width=width, height=height, title=_title(section, found, width))
    return data.of(chart)


def _role(channel: Channel, there: Sequence[str], width: int) -> Channel:
    in_a_row = len(there) if width > _WIDE else _ROLES_IN_A_ROW
    return channel.scale(domain=list(ROLES)).legend(values=list(there), columns=in_a_row)


def _title(section: Section, found: Points, width: int) -> alt.TitleParams:
    lines = wrapped(f"Not drawn: {'; '.join(found.left_out)}", width // _LETTER) if found.left_out else []
    return alt.TitleParams(wrapped(words(section.label), width // _LETTER), subtitle=lines)


def _floor(values: Sequence[tuple[float, Interval | None]]) -> float:
    """Where the axis begins: what is surely farther below the others than they reach would press them together."""
    order, floor = sorted(values, key=lambda found: found[0]), -math.inf
    best = order[-1][0] if order else 0.0
    for (below, its), (above, their) in pairwise(order):
        alike = its is not None and their is not None and its.high >= their.low
        if alike or not above - below > best - above > 0:
            break
        floor = above
    return floor


def _domains(points: Sequence[Row]) -> tuple[list[float], list[float]]:
    """Of both axes, with room for names at the right."""
    costs = [point["cost"] for point in points]
    values = [
        value for point in points for name in ("quality", "low", "high") if (value := point.get(name)) is not None
    ]
    margin = 0.08 * ((max(values) - min(values)) or 1)
    reach = (max(costs) / min(costs)) ** 0.12 * 1.15
    return [min(costs) / reach, max(costs) * reach], [min(values) - margin, max(values) + margin]


def _by_importance(points: Sequence[Row], best: Sequence[Row], rows: Sequence[Named]) -> list[Row]:
    """Whose name is placed first: the two methods and what was run here, the front, students, the others."""
    by_number = {one.number: one.row for one in rows}
    asked = {n for n, row in by_number.items() if is_looked_for(row)}
    on_front = {point["row"] for point in best}
    return sorted(
        points,
        key=lambda point: (point["row"] not in asked, point["row"] not in on_front, point["role"] != "student"),
    )


def is_looked_for(row: SystemRow) -> bool:
    """Whether a reader looks for it first: what was run here, and the two methods."""
    return row.origin == "run" or row.system.lower() in METHODS


def _with_names(
    order: Sequence[Row], best: Sequence[Row], x: list[float], y: list[float], size: tuple[int, int]
) -> list[Row]:
    """The points with the place of their name where it has room; the first have the choice."""
    width, height = size
    across, up = width / math.log(x[1] / x[0]), height / (y[1] - y[0])
    on_front = {point["row"] for point in best}
    marks = [(across * math.log(p["cost"] / x[0]), up * (p["quality"] - y[0])) for p in order]
    lines = [
        (px - 2, up * (point["low"] - y[0]), px + 2, up * (point["high"] - y[0]))
        for (px, _), point in zip(marks, order, strict=True)
        if "low" in point
    ]
    corners = [mark for mark, point in zip(marks, order, strict=True) if point["row"] in on_front]
    for (left, low), (right, high) in pairwise(sorted(corners)):  # the front goes right, then up
        lines += [(left, low - 1, right, low + 1), (right - 1, low, right + 1, high)]
    most = _SHORT if width > _WIDE else _SHORTER
    texts = [text if len(text := point["label"]) <= most else f"{text[: most - 1]}…" for point in order]
    places = place_labels(marks, texts, width=width, height=height, taken=lines)
    named = [point if place is None else {
        **point, "short": text, "align": place.align, "far": place.is_far,
        "at": x[0] * math.exp(place.x / across), "up": y[0] + place.y / up,
    } for point, text, place in zip(order, texts, places, strict=True)]  # fmt: skip
    return sorted(named, key=lambda point: -point["quality"])
