"""The table as figures for papers: quality against cost, tasks with their intervals, weights of layers, fidelity."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import altair as alt

from skill_bench.report.render.bars import task_bars
from skill_bench.report.render.fidelity import fidelity
from skill_bench.report.render.figure_files import Spec, save, words
from skill_bench.report.render.layer_weights import weights_map
from skill_bench.report.render.pareto import pareto
from skill_bench.report.render.rows import named
from skill_bench.report.table.quantities import quantities
from skill_bench.report.table.table import Section, Table


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
        if (spec := pareto(section, rows, cost)) is not None:
            yield f"pareto-{cost.name.split('_')[0]}", spec
    panels = [spec for column in section.judged if (spec := task_bars(rows, column, width=260)) is not None]
    if panels:
        yield "tasks", grid(panels, title=section.label, columns=2)
    weights = [{**spec, "title": words(one.label)} for one in rows if (spec := weights_map(one)) is not None]
    if weights:
        yield "layers", grid(weights, title=section.label, columns=1)
    if (spec := fidelity(rows)) is not None:
        yield "fidelity", spec


def grid(specs: list[Spec], *, title: str, columns: int) -> Spec:
    """Several figures as one; each keeps its own data."""
    inner = [
        {key: value for key, value in spec.items() if key not in ("config", "$schema", "datasets")} for spec in specs
    ]
    data = {name: values for spec in specs for name, values in spec.get("datasets", {}).items()}
    return {"$schema": alt.SCHEMA_URL, "title": words(title), "datasets": data, "columns": columns, "concat": inner,
            "resolve": {"scale": {"x": "independent", "y": "independent"}}}  # fmt: skip
