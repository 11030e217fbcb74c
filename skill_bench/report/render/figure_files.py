"""Figures as Vega-Lite specifications, which the page shows and files in SVG, PNG and PDF are made from."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal

import altair as alt
import vl_convert

from skill_bench.base.documents import write_atomic
from skill_bench.base.escape import one_line

Spec = dict[str, Any]
"""A Vega-Lite specification with its data, without colours of a theme: :func:`themed` adds those."""
Row = dict[str, Any]
ROLES = ("student", "teacher", "baseline", "control", "other")
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross")
COLUMN_INCHES, PAGE_INCHES = 3.25, 6.6
"""Widths of one column and of both, in the narrower of Interspeech's and IEEE's styles."""
PIXELS_PER_INCH = 96
"""Of a specification: its letters of 11 pixels are then of 8 points."""
_POINTS_PER_PIXEL = 72 / PIXELS_PER_INCH
_DOTS_PER_INCH = 256
_NEAR_PIXELS, _LEAST_PIXELS, _TRIES = 2, 60, 4
FONT = "system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', 'DejaVu Sans', sans-serif"

_INKS = {
    "light": {
        "ink": "#16202c", "quiet": "#566272", "line": "#dde2e9", "ground": "#ffffff",
        "roles": ["#0b62c4", "#b4540a", "#5f6b7a", "#8a3fb0", "#0a6b4d"],
        "low_to_high": ["#f3f6fa", "#8fb7e6", "#0b4fa3"], "below_to_above": ["#b4540a", "#f3f4f6", "#0b62c4"],
    },
    "dark": {
        "ink": "#e8edf3", "quiet": "#a3b0bf", "line": "#2a3644", "ground": "#161e28",
        "roles": ["#6db3ff", "#f5a861", "#a9b5c3", "#d49af2", "#5fd6a8"],
        "low_to_high": ["#1b2531", "#3f74ad", "#a8d4ff"], "below_to_above": ["#f5a861", "#222d3a", "#6db3ff"],
    },
}  # fmt: skip


class Datasets:
    """The data of a figure's charts, which name them: Altair copies and checks what a chart holds at every step."""

    def __init__(self) -> None:
        self._found: dict[str, list[Row]] = {}

    def __call__(self, rows: Iterable[Row]) -> alt.NamedData:
        """The rows as data of a chart; equal rows have one name."""
        found = list(rows)
        name = f"data-{hashlib.sha256(json.dumps(found).encode()).hexdigest()[:16]}"
        self._found[name] = found
        return alt.NamedData(name=name)

    def of(self, chart: alt.TopLevelMixin) -> Spec:
        """The whole figure."""
        return {**chart.to_dict(validate=False), "datasets": self._found}


def words(text: str) -> str:
    """Text of a record on one line, without what an SVG file cannot hold."""
    return one_line(text)


def theme(name: Literal["light", "dark"] = "light") -> Row:
    """Vega-Lite's ``config``: the page's two, of which files take the light one."""
    inks = _INKS[name]
    quiet, ink, line = inks["quiet"], inks["ink"], inks["line"]
    text = {"labelColor": quiet, "titleColor": quiet, "labelFontSize": 11, "titleFontSize": 11, "titleFontWeight": 400}
    return {
        "background": inks["ground"],
        "font": FONT,
        "mark": {"aria": False},
        "view": {"stroke": None},
        "axis": {**text, "gridColor": line, "domainColor": quiet, "tickColor": line, "labelLimit": 260},
        "legend": {**text, "symbolSize": 80, "orient": "bottom", "title": None, "labelLimit": 300},
        "title": {
            "color": ink, "subtitleColor": quiet, "fontSize": 12, "subtitleFontSize": 11,
            "anchor": "start", "frame": "bounds", "fontWeight": 600, "offset": 8,
        },
        "text": {"fill": ink, "fontSize": 11},
        "style": {
            "whisker": {"color": ink, "strokeWidth": 1.2},
            "front": {"color": quiet, "strokeDash": [5, 4], "strokeWidth": 1.2},
            "leader": {"color": quiet, "strokeWidth": 0.8},
            "tree": {"color": quiet, "strokeWidth": 1.3},
            "frame": {"stroke": inks["roles"][1], "fill": None, "strokeWidth": 2},
            "stage": {"color": quiet, "strokeDash": [2, 3]},
            "quiet": {"fill": quiet, "fontSize": 11},
        },
        "range": {
            "category": inks["roles"], "symbol": list(SHAPES),
            "heatmap": inks["low_to_high"], "ramp": inks["low_to_high"], "diverging": inks["below_to_above"],
        },
    }  # fmt: skip


def themed(spec: Spec) -> Spec:
    """``spec`` as files show it."""
    return {**spec, "config": theme()}


def wrapped(text: str, most: int) -> list[str]:
    """``text`` as lines of at most so many characters, but for longer words."""
    lines = [""]
    for word in text.split(" "):
        if lines[-1] and len(lines[-1]) + len(word) >= most:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def fitted(draw: Callable[[int], Spec | None], inches: float = COLUMN_INCHES) -> Spec | None:
    """The figure so wide that it fills a paper's column, names and axes included.

    Args:
        draw: Gives it for a width of its plot in pixels; None where there is nothing to show.
        inches: Of the whole figure.
    """
    wanted = width = round(inches * PIXELS_PER_INCH)
    spec = draw(width)
    for _ in range(_TRIES if spec else 0):
        excess = round(_size(vl_convert.vegalite_to_svg(themed(spec or {})))[0]) - wanted
        if abs(excess) <= _NEAR_PIXELS or width - excess < _LEAST_PIXELS:
            break
        width -= excess
        spec = draw(width)
    return spec


def save(spec: Spec, base: Path) -> list[Path]:
    """Writes ``<base>.svg``, ``.png`` and ``.pdf``, of one size on paper; the same figure gives the same SVG."""
    svg = _numbered(vl_convert.vegalite_to_svg(themed(spec)))
    width, height = (length * _POINTS_PER_PIXEL for length in _size(svg))
    in_points = _SIZE.sub(f'width="{width:g}" height="{height:g}"', svg, count=1)
    contents = {
        "svg": svg.encode(),
        "png": vl_convert.svg_to_png(svg, scale=_POINTS_PER_PIXEL, ppi=_DOTS_PER_INCH),
        "pdf": vl_convert.svg_to_pdf(in_points),
    }
    return [write_atomic(base.with_name(f"{base.name}.{suffix}"), data) for suffix, data in contents.items()]


_SIZE = re.compile(r'(?<=\s)width="([\d.]+)" height="([\d.]+)"')


def _size(svg: str) -> tuple[float, float]:
    found = _SIZE.search(svg)
    assert found is not None, svg[:200]
    return float(found[1]), float(found[2])


def _numbered(svg: str) -> str:
    """With gradients and clips numbered from 0: Vega counts on through all figures of a process."""
    found: dict[str, str] = {}

    def renamed(match: re.Match[str]) -> str:
        return found.setdefault(match[0], f"{match[1]}{len(found)}")

    return re.sub(r"\b(gradient_|clip)\d+\b", renamed, svg)
