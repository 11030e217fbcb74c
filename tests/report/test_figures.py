"""Figures for papers: the same numbers as the table, in files that do not change from run to run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from matplotlib.markers import MarkerStyle

from skill_bench.records.record import Record
from skill_bench.report.render.figures import front, layer_weights, layers, pareto, tasks, write_figures
from skill_bench.report.table.build import build
from skill_bench.report.table.collect import Collection
from skill_bench.report.table.entry import FoundRecord
from skill_bench.report.table.load import load_table
from skill_bench.report.table.quantities import MEAN, PARAMETERS, SUPERB
from skill_bench.report.table.table import Section, Table


@pytest.fixture(scope="module")
def table() -> Table:
    return load_table()


def texts(axes: Any) -> list[str]:
    return [text.get_text() for text in axes.texts]


def test_figures_of_the_shipped_records(table: Table, tmp_path: Path) -> None:
    table = Table(sections=table.sections[:1])
    written = write_figures(table, tmp_path)
    assert {path.suffix for path in written} == {".svg", ".png"}
    kinds = {path.name.split("-")[0] for path in written}
    assert kinds == {"pareto", "tasks", "layers"}
    again = write_figures(table, tmp_path / "again")
    for one, other in zip(written, again, strict=True):
        assert one.name == other.name
        if one.suffix == ".svg":
            assert one.read_bytes() == other.read_bytes()


def test_published_systems_have_a_mark_of_their_own(table: Table) -> None:
    measured, published = table.sections[0], table.sections[-1]
    for section, marker in ((measured, "o"), (published, "D")):
        figure = pareto(section)
        assert figure is not None
        marks = [line.get_marker() for line in figure.axes[0].lines]
        n_rows = sum(
            row.value(PARAMETERS) is not None and row.value(SUPERB if section is published else MEAN) is not None
            for row in section.rows
        )
        assert n_rows > 4
        assert [MarkerStyle(mark).get_marker() for mark in marks].count(marker) == n_rows


def test_what_lies_far_below_says_its_value(table: Table) -> None:
    figure = pareto(table.sections[-1])
    assert figure is not None
    assert "FBANK (no parameters, 0)" in texts(figure.axes[0])
    assert figure.axes[0].get_ylim()[0] > 300


def section_of(*records: Record) -> Section:
    entries = tuple(FoundRecord(record=record) for record in records)
    return build([Collection(origin="run", entries=entries)]).sections[0]


def test_bars_are_the_tables_numbers_best_first(make_record: Callable[..., Record]) -> None:
    section = section_of(*(make_record(name, "pr", value) for name, value in (("a", 40), ("b", 20), ("c", 30))))
    figure = tasks(section)
    assert figure is not None
    assert [bar.get_extents().width for bar in figure.axes[0].patches] == pytest.approx(
        [figure.axes[0].patches[0].get_extents().width * factor for factor in (1, 1.5, 2)]
    )
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["B", "C", "A"]


def test_layer_weights_are_means_over_seeds(make_record: Callable[..., Record]) -> None:
    section = section_of(
        *(make_record(seed=seed, layer_weights=w) for seed, w in enumerate(((0.2, 0.8), (0.4, 0.6)))),
        make_record(task="pr", layer_weights=(1.0,)),
    )
    found = layer_weights(section.rows[0])
    assert list(found) == ["ks"]
    assert found["ks"] == pytest.approx([0.3, 0.7])
    assert layers(section_of(make_record())) is None


def test_the_front_is_what_none_beats(make_record: Callable[..., Record]) -> None:
    row = section_of(make_record()).rows[0]
    points = [(1.0, 5.0, row), (2.0, 4.0, row), (2.0, 9.0, row), (3.0, 9.0, row), (0.0, 1.0, row)]
    assert front(points) == [(0.0, 1.0, row), (1.0, 5.0, row), (2.0, 9.0, row)]
    assert pareto(section_of(make_record(numerator=None))) is None
