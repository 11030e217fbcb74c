"""The table as figures for papers: quality against cost, tasks with their intervals, weights of layers, fidelity.

Quality and weights are as wide as one column of a page, the others as both.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import altair as alt

from skill_bench.report.render.bars import task_bars
from skill_bench.report.render.fidelity import fidelity
from skill_bench.report.render.figure_files import PAGE_INCHES, Spec, fitted, save, words, wrapped
from skill_bench.report.render.layer_weights import weights_map
from skill_bench.report.render.pareto import pareto
from skill_bench.report.render.rows import Named, named
from skill_bench.report.table.quantities import Quantity, quantities
from skill_bench.report.table.table import Section, Table

_TITLE_PIXELS = 7
"""Of a letter in a title."""


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
    columns = min(2, len(section.judged)) or 1
    panels = [
        task_bars(rows, column, width=width // columns, ranked=not section.synthetic) for column in section.judged
    ]
    return _grid(panels, title=section.label, columns=columns, width=width)


def _layers(section: Section, rows: Sequence[Named], width: int) -> Spec | None:
    maps = [(one.label, weights_map(one, width=width)) for one in rows]
    titled = [{**spec, "title": wrapped(label, width // _TITLE_PIXELS)} for label, spec in maps if spec is not None]
    return _grid(titled, title=section.label, columns=1, width=width)


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
