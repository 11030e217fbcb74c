"""Curves of a training: what the CSV logs of its stages hold, one after the other on one axis."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import altair as alt
import numpy as np
from numpy.typing import NDArray

from skill_bench.base.archive import read_bytes
from skill_bench.base.errors import DataError
from skill_bench.report.render.figure_files import Datasets, Row, Spec, fitted, save, words

DISTANCE = "distance"
PANELS = {
    "distance": (DISTANCE,),
    "loss": ("loss",),
    "L1 distance": ("l1",),
    "similarity and accuracy": ("cosine", "masked_accuracy", "visible_accuracy"),
    "sparsity": ("sparsity", "sparsity_target"),
    "multipliers": ("lambda_linear", "lambda_quadratic"),
    "norm of the gradients": ("gradient_norm",),
    "learning rate": ("learning_rate",),
}
MOST_POINTS = 600
"""Of a line: longer logs are shown by means."""
_WINDOWS = 60
"""Noisy curves are shown as they are, pale, and as means over so many parts of a stage."""

Columns = dict[str, NDArray[np.float64]]


def write_curves(logs: Sequence[Path], base: Path, *, title: str) -> list[Path]:
    """``<base>`` as SVG, PNG and PDF, a paper's column wide, from the CSV logs of stages, in order."""
    stages = {path.stem: read_log(path) for path in logs}
    spec = fitted(lambda width: draw(stages, title=title, width=width))
    return [] if spec is None else save(spec, base)


def read_log(path: Path) -> Columns:
    """The columns of a log, ``update`` among them.

    Raises:
        DataError: no lines.
    """
    rows = list(csv.DictReader(io.StringIO(read_bytes(path).decode(), newline="")))
    if not rows:
        raise DataError(f"{path}: no updates. Training writes one line for each.")
    return {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}


def with_distance(columns: Columns) -> Columns:
    """A distillation's columns with the distance to the teacher instead of the loss.

    The loss of a stage that prunes holds the penalty that drives the sparsity as well; where nothing is pruned, the
    loss is the distance.
    """
    if DISTANCE not in columns and "l1" not in columns:
        return columns
    known = {DISTANCE: columns["loss"]} if DISTANCE not in columns else {}
    return {name: values for name, values in {**columns, **known}.items() if name != "loss"}


def draw(
    stages: Mapping[str, Columns],
    *,
    title: str,
    panels: Sequence[str] = tuple(PANELS),
    width: int = 620,
    most_points: int = MOST_POINTS,
) -> Spec:
    """A panel for each kind of number that some stage has; a stage's line has at most so many points."""
    shown = {stage: with_distance(columns) for stage, columns in stages.items()}
    known = {name for columns in shown.values() for name in columns}
    starts, start = {}, 0.0
    for stage, columns in shown.items():
        starts[stage] = start
        start += float(columns["update"][-1]) + 1
    used = [(label, names) for label in panels if known & set(names := PANELS[label])]
    data = Datasets()
    parts = [
        _panel(label, names, shown, starts, end=start, last=label == used[-1][0], size=(width, most_points), data=data)
        for label, names in used
    ]
    return data.of(alt.vconcat(*parts, spacing=14).properties(title=words(title)).resolve_scale(color="independent"))


def _panel(
    label: str,
    names: Sequence[str],
    stages: Mapping[str, Columns],
    starts: Mapping[str, float],
    *,
    end: float,
    last: bool,
    size: tuple[int, int],
    data: Datasets,
) -> alt.LayerChart | alt.FacetChart:
    lines = [(stage, name) for stage in stages for name in names if name in stages[stage]]
    raw = [row for stage, name in lines for row in _rows(stages[stage], stage, name, starts[stage], size[1])]
    means = [row for stage, name in lines for row in _rows(stages[stage], stage, name, starts[stage], _WINDOWS)]
    there = [_said(name) for name in names if any(name == other for _, other in lines)]
    colour = alt.Color("name:N").scale(domain=there)
    colour = colour.legend(alt.Legend(orient="bottom") if len(there) > 1 else None)
    x = alt.X("update:Q").scale(domain=[0, end], nice=False).title("update" if last else None).axis(grid=False)
    y = alt.Y("value:Q").title(label).scale(zero=False).axis(tickCount=4)
    detail = alt.Detail("stage:N")
    pale = alt.Chart(data(raw)).mark_line(strokeWidth=0.8, strokeOpacity=0.35).encode(x, y, colour, detail)
    bold = alt.Chart(data(means)).mark_line(strokeWidth=1.8).encode(
        x, y, colour, detail,
        tooltip=[
            alt.Tooltip("stage:N"), alt.Tooltip("update:Q", format=".0f"),
            alt.Tooltip("name:N"), alt.Tooltip("value:Q", format=".4g"),
        ],
    )  # fmt: skip
    bounds = [{"update": starts[stage], "stage": stage} for stage in stages]
    begin = alt.Chart(data(bounds)).encode(alt.X("update:Q"))
    names_at = begin.mark_text(style="quiet", align="left", baseline="bottom").encode(
        alt.YValue(-4),  # type: ignore[no-untyped-call]
        alt.Text("stage:N"),
    )
    return alt.layer(begin.mark_rule(style="stage"), pale, bold, names_at).properties(width=size[0], height=110)


def _rows(columns: Columns, stage: str, name: str, start: float, most: int) -> list[Row]:
    """At most so many points, each the mean of as many updates."""
    width = max(1, -(-len(columns["update"]) // most))
    edges = np.arange(0, len(columns["update"]), width)
    counts = np.diff([*edges, len(columns["update"])])
    at, values = (np.add.reduceat(columns[key], edges) / counts for key in ("update", name))
    return [
        {"update": round(float(start + u), 1), "value": float(f"{v:.5g}"), "name": _said(name), "stage": stage}
        for u, v in zip(at, values, strict=True)
    ]


def _said(name: str) -> str:
    """A log's column as people read it."""
    return name.replace("_", " ")
