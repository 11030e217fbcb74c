"""The table as figures for papers: quality against cost, tasks with their intervals, weights of layers, fidelity.

Quality and weights are as wide as one column of a page, the others as both; none is higher than a page.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import altair as alt

from skill_bench.report.render.bars import STEP, task_bars
from skill_bench.report.render.fidelity import fidelity
from skill_bench.report.render.figure_files import PAGE_INCHES, PIXELS_PER_INCH, Spec, fitted, save, words, wrapped
from skill_bench.report.render.layer_weights import CELL_HEIGHT, layer_weights, weights_map
from skill_bench.report.render.pareto import is_looked_for, pareto
from skill_bench.report.render.rows import Named, named
from skill_bench.report.table.quantities import Quantity, quantities
from skill_bench.report.table.table import Section, Table

_TITLE_PIXELS = 7
"""Of a letter in a title."""
_HIGH_PIXELS = 9 * PIXELS_PER_INCH - 60
"""Of the panels below each other: a page of a paper, without the title."""
_PANEL_PIXELS, _MAP_PIXELS = 70, 90
"""Of a panel's axis, and of a map's axis and title."""
_LEAST_SYSTEMS, _FEW_TASKS = 2, 6


def write_figures(table: Table, folder: Path) -> list[Path]:
    """``pareto-``, ``tasks-``, ``layers-``, ``fidelity-<section>`` as SVG, PNG and PDF, where there are numbers."""
    written = []
    for section in table.sections:
        name = re.sub(r"[^a-z0-9]+", "-", section.label.lower()).strip("-")
        for kind, spec in figures_of(section):
            written += save(spec, folder / f"{kind}-{name}")
    return written


def figures_of(section: Section) -> Iterator[tuple[str, Spec]]:
    """Each figure of a section with its name."""
    rows = named(section)
    for cost in (cost for cost in quantities("cost") if cost.axis):
        if (spec := fitted(partial(_pareto, section, rows, cost))) is not None:
            yield f"pareto-{cost.name.split('_')[0]}", spec
    if (spec := fitted(lambda width: _tasks(section, rows, width), PAGE_INCHES)) is not None:
        yield "tasks", spec
    if (spec := fitted(lambda width: _layers(section, rows, width))) is not None:
        yield "layers", spec
    if (spec := fitted(lambda width: fidelity(rows, width=width), PAGE_INCHES)) is not None:
        yield "fidelity", spec


def _pareto(section: Section, rows: Sequence[Named], cost: Quantity, width: int) -> Spec | None:
    return pareto(section, rows, cost, width=width)


def _tasks(section: Section, rows: Sequence[Named], width: int) -> Spec | None:
    columns = min(2 if len(section.judged) <= _FEW_TASKS else 3, len(section.judged)) or 1
    high = _HIGH_PIXELS / max(1, -(-len(section.judged) // columns))
    shown = _first(rows, int((high - _PANEL_PIXELS) / STEP))
    panels = [
        task_bars(shown, column, width=width // columns, ranked=not section.synthetic) for column in section.judged
    ]
    return _grid(panels, title=_title(section, shown, rows), columns=columns, width=width)


def _layers(section: Section, rows: Sequence[Named], width: int) -> Spec | None:
    found = [one for one in rows if layer_weights(one.row)]
    high = max((len(layer_weights(one.row)) * CELL_HEIGHT for one in found), default=0) + _MAP_PIXELS
    shown = _first(found, int(_HIGH_PIXELS / high))
    maps = [(one.label, weights_map(one, width=width)) for one in shown]
    titled = [{**spec, "title": wrapped(label, width // _TITLE_PIXELS)} for label, spec in maps if spec is not None]
    return _grid(titled, title=_title(section, shown, found), columns=1, width=width)


def _first(rows: Sequence[Named], most: int) -> list[Named]:
    """As many as a page holds, in the table's order: of a run and the two methods, then by rank, then the others."""
    order = sorted(rows, key=lambda one: (not is_looked_for(one.row), one.row.rank is None))
    kept = {one.number for one in order[: max(most, _LEAST_SYSTEMS)]}
    return [one for one in rows if one.number in kept]


def _title(section: Section, shown: Sequence[Named], rows: Sequence[Named]) -> str:
    return section.label if len(shown) == len(rows) else f"{section.label}, {len(shown)} of {len(rows)} systems"


def _grid(specs: Sequence[Spec | None], *, title: str, columns: int, width: int) -> Spec | None:
    """Several figures as one; each keeps its own data. None of none."""
    found = [spec for spec in specs if spec is not None]
    if not found:
        return None
    own = ("config", "$schema", "datasets")
    return {
        "$schema": alt.SCHEMA_URL,
        "title": wrapped(words(title), width // _TITLE_PIXELS),
        "datasets": {name: values for spec in found for name, values in spec["datasets"].items()},
        "columns": columns,
        "concat": [{key: value for key, value in spec.items() if key not in own} for spec in found],
        "resolve": {"scale": {"x": "independent", "y": "independent"}},
    }
