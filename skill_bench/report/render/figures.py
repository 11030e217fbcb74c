"""The table as figures for papers: quality against cost, tasks with their intervals, the weights of layers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from skill_bench.report.render.fidelity import fidelity
from skill_bench.report.render.figure_files import save, words
from skill_bench.report.table.columns import Column
from skill_bench.report.table.quantities import MEAN, SUPERB, quantities
from skill_bench.report.table.quantity import Quantity
from skill_bench.report.table.table import Section, SystemRow, Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {
    "student": "#0b62c4",
    "teacher": "#b4540a",
    "baseline": "#5f6b7a",
    "control": "#8a3fb0",
    "published": "#c0264f",
}
OTHER = "#0a6b4d"
Point = tuple[float, float, SystemRow]
"""Cost, quality (higher better), system."""
_SPOTS = ((6, -3, "left"), (-6, -3, "right"), (5, 4, "left"), (5, -10, "left"), (-5, 4, "right"), (-5, -10, "right"))
"""Where a name may stand beside its mark, in points."""
_MOST_BARS = 40
_SMALL = 7.5


def write_figures(table: Table, folder: Path) -> list[Path]:
    """``pareto-``, ``tasks-``, ``layers-``, ``fidelity-<section>.svg`` and ``.png``, where there are numbers."""
    written = []
    for section in table.sections:
        name = re.sub(r"[^a-z0-9]+", "-", section.label.lower()).strip("-")
        for kind, draw in (("pareto", pareto), ("tasks", tasks), ("layers", layers), ("fidelity", fidelity)):
            if (figure := draw(section)) is not None:
                written += save(figure, folder / f"{kind}-{name}")
    return written


def pareto(section: Section) -> Figure | None:
    """The section's score against parameters and MACs on logarithmic axes; None where no row has both.

    Systems without any cost stand at the left edge, since zero has no logarithm.
    """
    from matplotlib.figure import Figure

    quality = SUPERB if any(row.value(SUPERB) is not None for row in section.rows) else MEAN
    found = [(cost.axis, _points(section.rows, quality, cost)) for cost in quantities("cost") if cost.axis]
    panels = [(name, points) for name, points in found if any(price > 0 for price, _, _ in points)]
    if not panels:
        return None
    figure = Figure(figsize=(4.6 * len(panels), 3.4), layout="constrained")
    for axes, (name, points) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        axes.set_xlabel(name, fontsize=9)
        axes.set_ylabel(str(quality.axis), fontsize=9)
        axes.set_title(words(section.label), fontsize=9, loc="left")
        _scatter(axes, points)
    return figure


def tasks(section: Section) -> Figure | None:
    """A panel a task: each system's value as a bar, best first, with its confidence interval where there is one."""
    from matplotlib.figure import Figure

    shown = [column for column in section.judged if any(column.name in row.scores for row in section.rows)]
    if not shown:
        return None
    across = min(3, len(shown))
    down = -(-len(shown) // across)
    n_bars = min(_MOST_BARS, len(section.rows))
    figure = Figure(figsize=(3.6 * across, down * (0.9 + 0.2 * n_bars)), layout="constrained")
    panels = list(figure.subplots(down, across, squeeze=False).flat)
    for axes, column in zip(panels, shown, strict=False):
        _bars(axes, section.rows, column)
    for axes in panels[len(shown) :]:
        axes.set_visible(False)
    figure.suptitle(words(section.label), fontsize=10)
    return figure


def layers(section: Section) -> Figure | None:
    """Tasks by hidden states for every system that weighs several: the weights of the head's sum, mean over seeds."""
    from matplotlib.figure import Figure

    weights = {row.title: found for row in section.rows if (found := layer_weights(row))}
    if not weights:
        return None
    top = max(float(values.max()) for found in weights.values() for values in found.values())
    heights = [len(found) for found in weights.values()]
    figure = Figure(figsize=(5.2, 0.8 + sum(0.55 + 0.2 * height for height in heights)), layout="constrained")
    panels = figure.subplots(len(weights), 1, squeeze=False, gridspec_kw={"height_ratios": heights})[:, 0]
    for axes, (title, found) in zip(panels, weights.items(), strict=True):
        image = axes.imshow(np.stack(list(found.values())), cmap="Blues", vmin=0, vmax=top, aspect="auto")
        axes.set_title(words(title), fontsize=_SMALL + 1, loc="left")
        axes.set_yticks(range(len(found)), [task.upper() for task in found], fontsize=_SMALL)
        n_states = len(next(iter(found.values())))
        axes.set_xticks(range(n_states), [f"h{layer}" for layer in range(n_states)], fontsize=_SMALL)
    figure.colorbar(image, ax=list(panels), shrink=0.6, label="weight")
    return figure


def layer_weights(row: SystemRow) -> dict[str, np.ndarray[tuple[int], np.dtype[np.float64]]]:
    """By task, the mean over seeds of a row's layer weights, ``(states,)``; empty for a single state."""
    found: dict[str, list[tuple[float, ...]]] = {}
    for entry in sorted(row.entries, key=lambda entry: entry.record.key.task):
        if len(entry.record.layer_weights) > 1:
            found.setdefault(entry.record.key.task, []).append(entry.record.layer_weights)
    return {task: np.mean(np.array(seeds), axis=0) for task, seeds in found.items()}


def front(points: Sequence[Point]) -> list[Point]:
    """Of (cost, quality, row), those that none beats in quality at their cost or less; cheapest first."""
    kept: list[Point] = []
    for point in sorted(points, key=lambda point: (point[0], -point[1])):
        if not kept or point[1] > kept[-1][1]:
            kept.append(point)
    return kept


def _points(rows: Sequence[SystemRow], quality: Quantity, cost: Quantity) -> list[Point]:
    found = [(row.value(cost), row.value(quality), row) for row in rows]
    return [(price, value, row) for price, value, row in found if price is not None and value is not None]


def _scatter(axes: Axes, points: Sequence[Point]) -> None:
    from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

    edge = min(price for price, _, _ in points if price > 0) / 2.2
    floor = _floor([value for _, value, _ in points])
    best = front(points)
    placed = [(price or edge, max(value, floor), row) for price, value, row in points]
    for x, y, row in placed:
        fill = "white" if row.source == "published" else _colour(row)
        marker = "D" if row.source == "published" else "o"
        axes.plot(x, y, marker, markersize=5, markerfacecolor=fill, markeredgecolor=_colour(row), clip_on=False)
    stairs = [(price or edge, max(value, floor)) for price, value, _ in best]
    axes.step(*zip(*stairs, strict=True), where="post", color="0.5", linewidth=0.9, linestyle="--", zorder=0)
    axes.set_xscale("log")
    axes.set_xlim(edge / 1.3, max(price for price, _, _ in points) * 1.6)
    few = max(price for price, _, _ in points) < 200 * edge
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if few else (1.0,)))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.tick_params(labelsize=_SMALL)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="0.9")
    axes.set_axisbelow(True)
    texts = {id(row): _told(price, value, row, floor) for price, value, row in points}
    first = {id(row) for _, _, row in best}
    _label(axes, [(x, y, texts[id(row)]) for x, y, row in sorted(placed, key=lambda p: id(p[2]) not in first)])


def _floor(values: Sequence[float]) -> float:
    """Where the axis may begin: what is further than three quartile ranges below stands at the edge, with its value."""
    low, high = np.percentile(values, [25, 75])
    fence = float(low - 3 * (high - low))
    return (
        min(value for value in values if value >= fence) - 0.06 * (max(values) - fence)
        if min(values) < fence
        else fence
    )


def _told(price: float, value: float, row: SystemRow, floor: float) -> str:
    said = [_short(row.title)] + ([] if price else ["no parameters"]) + ([f"{value:.0f}"] if value < floor else [])
    return said[0] if len(said) == 1 else f"{said[0]} ({', '.join(said[1:])})"


def _label(axes: Axes, wanted: Sequence[tuple[float, float, str]]) -> None:
    """Names beside their marks, where they cover neither a mark nor another name; the first ones first."""
    from matplotlib.transforms import Bbox

    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()  # places are known in pixels once the layout is
    pixels = axes.transData.transform([(x, y) for x, y, _ in wanted])
    taken = [Bbox.from_bounds(x - 7, y - 7, 14, 14) for x, y in pixels]
    for x, y, text in wanted:
        for dx, dy, side in _SPOTS:
            name = axes.annotate(
                text, (x, y), xytext=(dx, dy), textcoords="offset points", ha=side, fontsize=_SMALL, in_layout=False
            )
            box = name.get_window_extent()
            if axes.bbox.x0 - 4 <= box.x0 and box.x1 <= axes.bbox.x1 + 4 and not any(box.overlaps(b) for b in taken):
                taken.append(box)
                break
            name.remove()


def _bars(axes: Axes, rows: Sequence[SystemRow], column: Column) -> None:
    own = [(row, cell) for row in rows if (cell := row.scores.get(column.name)) is not None]
    own = sorted(own, key=lambda entry: -entry[1].points)[:_MOST_BARS]
    for place, (row, cell) in enumerate(own):
        hollow = row.source == "published"
        axes.barh(place, cell.value, height=0.7, color="none" if hollow else _colour(row), edgecolor=_colour(row))
        if cell.interval is not None:
            middle, half = fmean((cell.interval.low, cell.interval.high)), (cell.interval.high - cell.interval.low) / 2
            axes.errorbar(middle, place, xerr=half, fmt="none", ecolor="black", elinewidth=0.9, capsize=2)
    axes.set_yticks(range(len(own)), [_short(row.title) for row, _ in own], fontsize=_SMALL)
    axes.invert_yaxis()
    axes.set_title(column.heading, fontsize=9)
    axes.tick_params(axis="x", labelsize=_SMALL)
    axes.spines[["top", "right"]].set_visible(False)


def _short(title: str, most: int = 28) -> str:
    return words(title if len(title) <= most else f"{title[: most - 1]}…")


def _colour(row: SystemRow) -> str:
    return COLOURS.get("published" if row.source == "published" else row.kind or "", OTHER)
