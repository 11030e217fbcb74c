"""Figures: the table's numbers as Vega-Lite, for the page and for papers, and nothing that is not true."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import vl_convert

from skill_bench.records.profile import ColdStart, Profile
from skill_bench.records.record import Record, System
from skill_bench.records.similarity import Similarity
from skill_bench.report.render import heat_map
from skill_bench.report.render.bars import task_bars
from skill_bench.report.render.figure_files import PIXELS_PER_INCH, fitted, save, theme, themed
from skill_bench.report.render.figures import figures_of, write_figures
from skill_bench.report.render.labels import PIXELS_PER_CHARACTER, box_of, place_labels
from skill_bench.report.render.layer_weights import layer_weights, weights_map
from skill_bench.report.render.page_charts import charts_of
from skill_bench.report.render.pareto import front, pareto, points_of
from skill_bench.report.render.rows import named
from skill_bench.report.table.build import build
from skill_bench.report.table.collect import Collection
from skill_bench.report.table.columns import published_column
from skill_bench.report.table.entry import FoundRecord
from skill_bench.report.table.load import load_table
from skill_bench.report.table.published import PublishedRow
from skill_bench.report.table.quantities import (
    ANCHORS,
    COLD_START,
    FILE,
    MEAN,
    PARAMETERS,
    REAL_TIME_FACTOR,
    SUPERB,
    Quantity,
)
from skill_bench.report.table.table import Section, Table

Spec = dict[str, Any]


@pytest.fixture(scope="module")
def published() -> Section:
    return next(s for s in load_table(suite="superb", intervals=False).sections if s.source == "published")


def section_of(*records: Record) -> Section:
    entries = tuple(FoundRecord(record=record) for record in records)
    return build([Collection(origin="run", entries=entries)]).sections[0]


def data_of(spec: Spec, layer: Spec | None = None) -> list[dict[str, Any]]:
    data: list[dict[str, Any]] = spec["datasets"][(layer or spec)["data"]["name"]]
    return data


def test_files_hold_the_figure_and_do_not_change(make_record: Callable[..., Record], tmp_path: Path) -> None:
    table = Table(sections=(section_of(make_record("a"), make_record("b", numerator=70)),))
    written = write_figures(table, tmp_path)
    assert {path.name.split("-")[0] for path in written} == {"pareto", "tasks"}
    assert {path.suffix for path in written} == {".svg", ".png", ".pdf"}
    again = {path.name: path.read_bytes() for path in write_figures(table, tmp_path / "again") if path.suffix == ".svg"}
    assert {path.name: path.read_bytes() for path in written if path.suffix == ".svg"} == again
    for path in written:
        if path.suffix == ".pdf":
            inches = 6.6 if path.name.startswith("tasks") else 3.25
            assert width_in_inches(path) == pytest.approx(inches, abs=0.03), "a paper's column, or both"
    (drawn,) = (path.read_text() for path in written if path.name.startswith("tasks") and path.suffix == ".svg")
    assert all(text in drawn for text in (theme()["range"]["category"][4], "KS acc"))


def width_in_inches(pdf: Path) -> float:
    (box,) = re.findall(rb"/MediaBox \[0 0 ([\d.]+) [\d.]+\]", pdf.read_bytes())
    return float(box) / 72


@pytest.mark.parametrize("width", [None, 960])
def test_every_mark_has_its_name_beside_it_or_below(published: Section, width: int | None, tmp_path: Path) -> None:
    """Those that a reader looks for first: what the package is about, and the front."""
    rows = named(published)
    spec = (
        fitted(lambda pixels: pareto(published, rows, PARAMETERS, width=pixels))
        if width is None
        else pareto(published, rows, PARAMETERS, width=width)
    )
    assert spec is not None
    points = data_of(spec)
    beside = {point["label"] for point in points if "at" in point}
    _, *below = spec["layer"][2]["encoding"]["x"]["title"]
    listed = {point["label"] for point in points if f"{point['label']} {point['quality']:.0f}" in " ".join(below)}
    assert beside | listed == {point["label"] for point in points}
    assert not beside & listed
    assert {"DPHuBERT", "modified CPC", "DPWavLM", "WavLM Base+"} <= beside
    if width is None:
        assert width_in_inches(save(spec, tmp_path / "f")[2]) == pytest.approx(3.25, abs=0.03)
    assert len(beside) > (10 if width is None else 25)


def test_what_the_axes_cannot_hold_is_left_out_and_listed(published: Section) -> None:
    """No logarithm of nothing, and no mark that stands where its value is not."""
    found = points_of(named(published), SUPERB, PARAMETERS)
    assert found.left_out == ("FBANK (0, no params)",)
    values = {row.title: (row.value(PARAMETERS), row.value(SUPERB)) for row in published.rows}
    assert len(found.drawn) > 40
    assert all(values[point["label"]] == (point["cost"], point["quality"]) for point in found.drawn)
    spec = pareto(published, named(published), PARAMETERS)
    assert spec is not None
    assert spec["title"]["subtitle"] == ["Not drawn: FBANK (0, no params)"]
    x, y = (spec["layer"][2]["encoding"][axis]["scale"]["domain"] for axis in "xy")
    assert all(x[0] < p["cost"] < x[1] and y[0] < p["quality"] < y[1] for p in found.drawn)


@pytest.mark.parametrize(
    ("cost", "figure", "costs"),
    [
        (FILE, "pareto-file", {"Big": 20.0, "Small": 5.0}),
        (REAL_TIME_FACTOR, "pareto-one", {"Big": 0.1, "Small": 0.02}),
        (COLD_START, "pareto-cold", {"Big": 0.75, "Small": 0.25}),
    ],
)
def test_what_counts_where_a_model_is_deployed_is_an_axis(
    cost: Quantity,
    figure: str,
    costs: dict[str, float],
    make_record: Callable[..., Record],
    make_profile: Callable[..., Profile],
) -> None:
    """A row without the number is left out and named, never drawn at nothing."""

    def deployed(name: str, n_bytes: int, rate: float, seconds: float) -> Profile:
        found = make_profile(name)
        assert found.throughput is not None
        measured = {
            "disk_bytes": n_bytes,
            "throughput": found.throughput.model_copy(update={"median": rate, "n_threads": 1}),
            "cold_start": ColdStart(median=seconds, seconds=(seconds,), utterance_seconds=1.0),
        }
        return Profile(**(dict(found) | measured))

    records = [make_record("big", numerator=90), make_record("small", numerator=80), make_record("old", numerator=70)]
    profiles = (deployed("big", 20_000_000, 10.0, 0.75), deployed("small", 5_000_000, 50.0, 0.25), make_profile("old"))
    entries = tuple(FoundRecord(record=record) for record in records)
    (section,) = build([Collection(origin="run", entries=entries, profiles=profiles)]).sections
    found = points_of(named(section), MEAN, cost)
    assert {point["label"]: point["cost"] for point in found.drawn} == costs
    assert found.left_out == (f"Old ({cost.title} not known)",)
    spec = dict(figures_of(section))[figure]
    assert spec["title"]["subtitle"] == [f"Not drawn: Old ({cost.title} not known)"]
    assert spec["layer"][2]["encoding"]["x"]["title"] == [cost.axis], "in lines"
    assert {point["label"] for point in data_of(spec)} == set(costs)


def test_a_system_far_below_the_others_is_listed() -> None:
    rows = [
        PublishedRow(
            suite="superb",
            system=name,
            teacher=None,
            distillation_data=None,
            citation="x",
            values={"parameters_millions": 10.0, **metrics_at(share)},
        )
        for name, share in (("a", 0.9), ("b", 0.8), ("c", 0.1))
    ]
    (section,) = build([], rows).sections
    found = points_of(named(section), SUPERB, PARAMETERS)
    assert [point["label"] for point in found.drawn] == ["a", "b"]
    assert found.left_out == ("c (100, 10.00 M)",)


def metrics_at(share: float) -> dict[str, float | None]:
    """Every metric so far between FBANK's and the best's: a SUPERB score of 1000 times that."""
    found: dict[str, float | None] = {}
    for name, (low, high) in ANCHORS.items():
        points, column = low + share * (high - low), published_column(name)
        assert column is not None
        found[name] = points if column.higher_is_better else 100 - points
    return found


def test_published_systems_are_hollow_and_have_roles(published: Section) -> None:
    spec = pareto(published, named(published), PARAMETERS)
    assert spec is not None
    assert {point["source"] for point in data_of(spec)} == {"published"}
    hollow = spec["layer"][2]["encoding"]["fillOpacity"]
    assert hollow["condition"] == {"test": "datum.source === 'published'", "value": 0.15}
    assert hollow["value"] == 1
    assert {point["role"] for point in data_of(spec)} == {"student", "teacher", "baseline"}


def test_names_meet_neither_marks_nor_names() -> None:
    marks = [(100.0, 100.0), (104.0, 101.0), (110.0, 99.0), (300.0, 100.0), (108.0, 130.0)]
    texts = ["one system", "another", "a third one", "alone", "near"]
    spots = place_labels(marks, texts, width=400, height=200)
    boxes = [box_of(spot, text) for text, spot in zip(texts, spots, strict=True) if spot is not None]
    assert len(boxes) == len(texts)
    dense = place_labels([(200.0, 100.0 + n) for n in range(9)], ["name"] * 9, width=400, height=200)
    assert [spot is not None and spot.is_far for spot in dense] == [True] * 9, "a line leads where there is no room"
    assert boxes[3] == (310.0, 93.5, 310.0 + PIXELS_PER_CHARACTER * len("alone"), 106.5)
    everything = [*boxes, *((x - 7, y - 7, x + 7, y + 7) for x, y in marks)]
    for number, (left, bottom, right, top) in enumerate(boxes):
        others = [box for place, box in enumerate(everything) if place != number]
        assert all(left >= r or right <= x or bottom >= t or top <= y for x, y, r, t in others)
    crowd = place_labels([(50.0, 50.0)] * 30, ["a long name"] * 30, width=100, height=100)
    assert crowd.count(None) > 20, "no name is better than one upon another"


def test_bars_are_the_tables_numbers_best_first(make_record: Callable[..., Record]) -> None:
    section = section_of(*(make_record(name, "pr", value) for name, value in (("a", 40), ("b", 20), ("c", 30))))
    spec = task_bars(named(section), section.judged[0])
    assert spec is not None
    assert [(bar["label"], bar["value"]) for bar in data_of(spec)] == [("B", 20), ("C", 30), ("A", 40)]


def test_synthetic_speech_has_bars_in_the_tables_order(make_record: Callable[..., Record]) -> None:
    """And recorded speech the best first, on the page as in the figures."""
    for synthetic, order in ((True, ["A", "B", "C"]), (False, ["B", "C", "A"])):
        found = section_of(
            *(make_record(name, "pr", value, synthetic=synthetic) for name, value in (("a", 40), ("b", 20), ("c", 30)))
        )
        of_page = next(chart for chart in charts_of(found, named(found)) if chart["name"] == found.judged[0].heading)
        panel = dict(figures_of(found))["tasks"]
        for data in (data_of(of_page["wide"]), panel["datasets"][panel["concat"][0]["data"]["name"]]):
            assert [bar["label"] for bar in data] == order


def test_systems_of_one_title_keep_their_own_bars_and_heat_maps(make_record: Callable[..., Record]) -> None:
    """A row is told from others by its number, never by its title."""
    runs = [
        Collection(
            origin=origin,
            entries=(FoundRecord(record=make_record("a", numerator=n, layer_weights=w), origin=origin),),
        )
        for origin, n, w in (("run", 40, (0.9, 0.1)), ("shipped", 70, (0.2, 0.8)))
    ]
    section = build(runs).sections[0]
    assert {row.title for row in section.rows} == {"A"}
    rows = named(section, first=10)
    spec = task_bars(rows, section.judged[0])
    assert spec is not None
    bars = {(bar["key"], bar["label"], bar["value"]) for bar in data_of(spec)}
    assert bars == {("10", "A (shipped)", 70), ("11", "A (run)", 40)}
    maps = [weights_map(one) for one in rows]
    assert [[cell["weight"] for cell in data_of(spec)] for spec in maps if spec] == [[0.2, 0.8], [0.9, 0.1]]


def test_layer_weights_are_means_over_seeds_against_equal_ones(make_record: Callable[..., Record]) -> None:
    section = section_of(
        *(make_record(seed=seed, layer_weights=w) for seed, w in enumerate(((0.2, 0.8), (0.4, 0.6)))),
        make_record(task="pr", layer_weights=(1.0,)),
    )
    assert list(layer_weights(section.rows[0])) == ["ks"]
    spec = weights_map(named(section)[0])
    assert spec is not None
    assert [cell["times"] for cell in data_of(spec)] == pytest.approx([0.6, 1.4]), "1 is an equal weight"
    assert weights_map_tasks(make_record, "er", "asr", "pr", "sid") == ["PR", "ASR", "SID", "ER"]
    assert spec["layer"][0]["encoding"]["color"]["scale"]["domain"] == [0, 1, 3], "the same in every figure"
    assert weights_map(named(section_of(make_record()))[0]) is None


def weights_map_tasks(make_record: Callable[..., Record], *tasks: str) -> list[str]:
    section = section_of(*(make_record(task=task, layer_weights=(0.2, 0.8)) for task in tasks))
    spec = weights_map(named(section)[0])
    assert spec is not None
    sort: list[str] = spec["layer"][0]["encoding"]["y"]["sort"]
    return sort


def test_similarity_has_one_scale_and_says_inversions() -> None:
    matrix = ((1.0, 0.9, 0.3), (0.9, 1.0, 0.4), (0.3, 0.4, 1.0))
    plain = Similarity(measure="cka", matrix=matrix, tree=((0, 1, 0.1, 2), (2, 3, 0.65, 3)), groups=((0, 1), (2,)))
    inverted = plain.model_copy(update={"tree": ((0, 1, 0.7, 2), (2, 3, 0.65, 3))})
    for one, said in ((plain, ""), (inverted, "1 inversion: a merge lower than one inside it")):
        spec = heat_map.draw(one, title="t")
        tree, below = spec["vconcat"]
        assert spec["title"]["subtitle"] == said
        assert below["layer"][0]["encoding"]["color"]["scale"]["domain"] == [0, 1], "not from the lowest value"
        assert [(frame["from"], frame["to"]) for frame in data_of(spec, below["layer"][1])] == [(1, 3), (0, 1)]
        tops = [corner["y"] for corner in data_of(spec, tree) if corner["step"] == 1]
        assert tops == [merge[2] for merge in one.tree]


def test_the_front_is_what_none_beats() -> None:
    def point(row: int, cost: float, quality: float) -> dict[str, Any]:
        return {"row": row, "cost": cost, "quality": quality}

    points = [point(0, 1.0, 5.0), point(1, 2.0, 4.0), point(2, 2.0, 9.0), point(3, 3.0, 9.0), point(4, 0.5, 1.0)]
    assert [one["row"] for one in front(points)] == [4, 0, 2]


def corners(svg: str) -> int:
    """Of the dashed front."""
    (path,) = re.findall(r'aria-roledescription="line mark"[^>]* d="([^"]*)"', svg)
    return len(re.findall("[ML]", path))


def test_the_front_is_drawn_of_the_points_that_are_shown(published: Section) -> None:
    """The page hides some: a step to the right and one upwards for each that none of the others beats."""
    rows = named(published)
    spec = pareto(published, rows, PARAMETERS)
    assert spec is not None
    name, points = spec["data"]["name"], data_of(spec)
    for role in ("student", "teacher", "baseline", None):
        shown = [point for point in points if role in (None, point["role"])]
        drawn = vl_convert.vegalite_to_svg({**spec, "datasets": {name: shown}})
        assert len(front(shown)) > 1
        assert corners(drawn) == 2 * len(front(shown)) - 1


def test_systems_without_a_rank_are_counted(make_record: Callable[..., Record]) -> None:
    both = [make_record(name, task, 90, synthetic=False) for name in ("a", "b") for task in ("ks", "pr")]
    section = section_of(*both, make_record("c", "ks", 80, synthetic=False))
    rows = [replace(row, quantities={**row.quantities, MEAN.name: 80, PARAMETERS.name: 1}) for row in section.rows]
    found = points_of(named(replace(section, rows=tuple(rows))), MEAN, PARAMETERS)
    assert [point["label"] for point in found.drawn] == ["A", "B"]
    assert found.left_out == ("1 system without a rank",)


def test_no_figure_is_higher_than_a_page(published: Section, shipped: Table) -> None:
    for section in (published, *shipped.sections):
        for kind, spec in figures_of(section):
            height = float(re.findall(r'<svg[^>]* height="([\d.]+)"', vl_convert.vegalite_to_svg(themed(spec)))[0])
            assert height / PIXELS_PER_INCH < 9.5, (section.label, kind)
    tasks = dict(figures_of(published))["tasks"]
    assert " ".join(tasks["title"]).endswith(", 6 of 46 systems")
    bars = [bar["label"] for panel in tasks["concat"] for bar in tasks["datasets"][panel["data"]["name"]]]
    assert "DPHuBERT" in bars, "a reader looks for it"


def test_shortened_names_stay_apart(make_record: Callable[..., Record]) -> None:
    titles = [f"A student with a long name (ONNX {form})" for form in ("float32", "int8")]
    records = [
        make_record(f"s{n}", "ks", 90, system=System(name=f"s{n}", title=title, kind="student", identity=title))
        for n, title in enumerate(titles)
    ]
    section = section_of(*records)
    spec = task_bars(named(section), section.judged[0], width=200)
    assert spec is not None
    names = [bar["name"] for bar in data_of(spec)]
    assert len({*names}) == 2
    assert [name[-5:] for name in names] == ["at32)", "int8)"]


def test_synthetic_speech_has_no_quality_to_set_against_cost(make_record: Callable[..., Record]) -> None:
    assert "pareto-parameters" in dict(figures_of(section_of(make_record(), make_record("b", numerator=70))))
    section = section_of(make_record(synthetic=True), make_record("b", numerator=70, synthetic=True))
    assert {kind for kind, _ in figures_of(section)} == {"tasks"}
