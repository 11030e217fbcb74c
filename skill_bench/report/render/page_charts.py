"""The charts of the page: the figures' own specifications, by section."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from skill_bench.base.errors import RecordError
from skill_bench.report.render import curves, heat_map
from skill_bench.report.render.bars import score_bars, task_bars
from skill_bench.report.render.fidelity import fidelity
from skill_bench.report.render.figure_files import Spec
from skill_bench.report.render.layer_weights import weights_map
from skill_bench.report.render.pareto import pareto
from skill_bench.report.render.rows import Named
from skill_bench.report.render.students import layers_alike, learning
from skill_bench.report.table.entry import newest
from skill_bench.report.table.quantities import quantities
from skill_bench.report.table.table import Section

Json = dict[str, Any]
WIDE, NARROW = 1080, 320
"""Of a plot in pixels, on a screen and on a telephone."""
_NARROW_BARS = 170
_PANELS = ("distance", "sparsity")
_MOST_POINTS = 150
MOST_OF_A_KIND = 40
"""Figures of single systems: the best so many systems have one."""


def charts_of(section: Section, rows: Sequence[Named], beside: Sequence[Named] = ()) -> list[Json]:
    """Every chart of the section: its kind, what it is called among those of its kind, and one or two specifications.

    Args:
        beside: Published rows that may be drawn with the section's own, since they are of the same data.
    """
    return [
        *_pareto(section, [*rows, *beside]),
        *_bars(section, [*rows, *beside]),
        *_of_systems(rows),
        *_fidelity(rows),
    ]


def _pareto(section: Section, rows: Sequence[Named]) -> Iterator[Json]:
    for cost in (cost for cost in quantities("cost") if cost.axis):
        wide, narrow = (pareto(section, rows, cost, width=width) for width in (WIDE, NARROW))
        if wide is not None and narrow is not None:
            yield _chart("pareto", cost.heading, wide, narrow)


def _bars(section: Section, rows: Sequence[Named]) -> Iterator[Json]:
    scores = [one for one in quantities("score", printed=True) if any(row.row.value(one) is not None for row in rows)]
    for score in scores if not section.synthetic else ():
        if (spec := score_bars(rows, score, width=WIDE - 240, most=None)) is not None:
            yield _chart("bars", score.heading, spec, score_bars(rows, score, width=_NARROW_BARS, most=None))
    for column in section.shown:
        wide, narrow = (
            task_bars(rows, column, width=width, most=None, ranked=not section.synthetic)
            for width in (WIDE - 240, _NARROW_BARS)
        )
        if wide is not None:
            yield _chart("bars", column.heading, wide, narrow)


def _of_systems(rows: Sequence[Named]) -> Iterator[Json]:
    for one in (one for one in rows[:MOST_OF_A_KIND] if one.row.entries):
        wide, narrow = (weights_map(one, width=width - 120) for width in (WIDE, NARROW))
        if wide is not None:
            yield _chart("layers", one.label, wide, narrow, row=one.number)
        system = newest(one.row.entries).system
        with suppress(RecordError):  # it is among the table's problems
            if (alike := layers_alike(system)) is not None:
                title = f"Layers of the teacher, {len(alike.groups)} groups of {one.label}"
                wide, narrow = (
                    heat_map.draw(alike, title=title, most_pixels=most) for most in (WIDE - 420, NARROW - 80)
                )
                yield _chart("similarity", one.label, wide, narrow, row=one.number)
        with suppress(RecordError):
            if stages := learning(system):
                wide, narrow = (
                    curves.draw(stages, title=one.label, panels=_PANELS, width=width - 130, most_points=_MOST_POINTS)
                    for width in (WIDE, NARROW)
                )
                yield _chart("training", one.label, wide, narrow, row=one.number)


def _fidelity(rows: Sequence[Named]) -> Iterator[Json]:
    if (spec := fidelity(rows)) is not None:
        yield _chart("fidelity", "all", spec, fidelity(rows, width=NARROW - 60, stacked=True))


def _chart(kind: str, name: str, wide: Spec, narrow: Spec | None = None, *, row: int | None = None) -> Json:
    small = None if narrow is None else _lean(narrow)
    if small is not None:  # a dataset's name is a hash of it: the same one is not there twice
        own = {name: data for name, data in small["datasets"].items() if name not in wide["datasets"]}
        small = {**small, "datasets": own}
    return {"kind": kind, "name": name, "row": row, "wide": _lean(wide), "narrow": small}


def _lean(spec: Spec) -> Spec:
    """Without what the page adds itself: colours and the schema."""
    return {key: value for key, value in spec.items() if key not in ("config", "$schema")}
