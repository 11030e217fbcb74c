"""Intervals in the table: from the predictions beside the records, or the reason why there is none."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import made_samples as made
import numpy as np
import pytest
from rich.console import Console

from skill_bench.records.record import Metric
from skill_bench.report.render.frame import to_frame
from skill_bench.report.render.latex import latex
from skill_bench.report.render.page_data import page_data
from skill_bench.report.render.render import markdown
from skill_bench.report.render.terminal import print_section
from skill_bench.report.statistics.interval import NO_SPREAD
from skill_bench.report.table.build import build
from skill_bench.report.table.collect import collect
from skill_bench.report.table.table import Score, Table
from skill_bench.report.table.uncertainty import with_intervals


def only_cell(folder: Path) -> tuple[Score, tuple[str, ...]]:
    table = with_intervals(build([collect(folder)]))
    (cell,) = table.sections[0].rows[0].scores.values()
    return cell, table.problems


@pytest.fixture
def out(tmp_path: Path, make_record: Any) -> Path:
    for seed in (0, 1):
        right = np.random.default_rng(seed).random(100) < 0.8
        metric = {"accuracy": Metric.percent(int(right.sum()), 100, higher_is_better=True)}
        make_record(seed=seed, metrics=metric).save(tmp_path, predictions=made.label_rows(right))
    return tmp_path


def test_every_cell_of_the_shipped_records_has_one(shipped: Table) -> None:
    cells = [cell for s in shipped.sections if s.source == "measured" for row in s.rows for cell in row.scores.values()]
    assert len(cells) >= 30
    for cell in cells:
        assert (cell.interval is None) == (cell.no_interval is not None)
        if cell.interval is None:
            assert cell.no_interval == NO_SPREAD
        else:
            assert cell.interval.low <= cell.value <= cell.interval.high
            # No part has a thousand utterances; near an end of the scale, where little can vary, it is narrower, and of
            # some systems every query that is drawn is told by nobody.
            least = 1 if 4 < cell.value < 96 else 0.01 if cell.column.metric == "mtwv" else 0.5
            assert cell.interval.high - cell.interval.low > least
    assert sum(cell.interval is not None for cell in cells) > 0.9 * len(cells)


def test_seeds_are_in_it_and_csv_and_markdown_show_it(out: Path) -> None:
    cell, problems = only_cell(out)
    assert problems == ()
    assert cell.interval is not None
    assert cell.interval.method == "Wilson, bootstrap of 100 test items and 2 seeds"
    table = with_intervals(build([collect(out)]))
    assert to_frame(table)["ks_accuracy_percent_low"].tolist() == [cell.interval.low]
    assert to_frame(table)["ks_accuracy_percent_high"].tolist() == [cell.interval.high]
    assert f"{cell.value:.2f} [{cell.interval.low:.1f}, {cell.interval.high:.1f}]" in markdown(table)


def test_speakers_are_drawn_where_they_are_known(out: Path, tmp_path: Path, make_record: Any) -> None:
    assert only_cell(out)[0].speaker_interval is None
    right = np.arange(120) % 20 < 15
    right[:40] = False
    metric = {"accuracy": Metric.percent(int(right.sum()), 120, higher_is_better=True)}
    rows = made.spoken(made.label_rows(right), np.arange(120) // 15)
    make_record(metrics=metric).save(tmp_path / "spoken", predictions=rows)
    cell, problems = only_cell(tmp_path / "spoken")
    assert problems == ()
    assert cell.interval is not None
    assert cell.speaker_interval is not None
    assert cell.speaker_interval.method == "Student's t with skewness over 8 speakers"
    assert cell.speaker_interval.low < cell.interval.low < cell.value < cell.interval.high < cell.speaker_interval.high
    frame = to_frame(with_intervals(build([collect(tmp_path / "spoken")])))
    assert frame["ks_accuracy_percent_speaker_low"].tolist() == [cell.speaker_interval.low]
    speaker_low, low, mean = (frame[f"mean_points{end}"][0] for end in ("_speaker_low", "_low", ""))
    assert speaker_low < low < mean, "of the mean as of a task"


def test_too_few_items_are_said_instead_of_an_interval_everywhere(tmp_path: Path, make_record: Any) -> None:
    rows = made.error_rows(np.arange(10), np.full(10, 100))
    metric = {"per": Metric.percent(45, 1000, higher_is_better=False)}
    make_record(task="pr", metrics=metric).save(tmp_path, predictions=rows)
    table = with_intervals(build([collect(tmp_path)]))
    why = "10 test items are too few to tell how much others would vary; it takes 24"
    note = f"† pr: no interval, {why} (Skill)"
    assert to_frame(table)["pr_per_percent_no_interval"].tolist() == [why]
    assert "4.50†" in markdown(table)
    assert note in markdown(table)
    assert "†: none, see the notes" in markdown(table)
    assert r"4.50$\dagger$" in latex(table)
    assert rf"$\dagger$ {note[2:]}." in latex(table)
    text = io.StringIO()
    print_section(table.sections[0], Console(file=text, width=120))
    assert "4.50†" in text.getvalue()
    assert note in " ".join(text.getvalue().split())
    page = page_data(table, bibliography="")
    assert page["sections"][0]["remarks"] == [note]
    assert why in page["frame"]["rows"][0], "the cell's own text says it too"


def test_changed_predictions_are_a_problem_and_the_value_stays(out: Path) -> None:
    path = next(out.glob("demo/*/ks-s1.predictions.jsonl"))
    path.write_text(path.read_text().replace('"no"', '"yes"'))
    cell, problems = only_cell(out)
    assert cell.interval is None
    assert cell.no_interval is not None
    assert "ks-s1.predictions.jsonl: is not the file that ks-s1.json was written with" in cell.no_interval
    assert problems == (cell.no_interval,)


def test_without_predictions_there_is_a_reason_and_no_problem(tmp_path: Path, make_record: Any) -> None:
    make_record().save(tmp_path)
    cell, problems = only_cell(tmp_path)
    assert cell.interval is None
    assert cell.no_interval is not None
    assert "keeps no predictions" in cell.no_interval
    assert problems == ()


def test_seeds_of_other_items_are_not_mixed(out: Path, make_record: Any) -> None:
    make_record(seed=2).save(out, predictions=made.label_rows(np.ones(7)))
    cell, _ = only_cell(out)
    assert cell.interval is None
    assert cell.no_interval is not None
    assert "ks-s2.json: was tested on other items than" in cell.no_interval
