"""Published tables: what is in the package, and what a faulty one says.

The table of scores and costs: a line more there is a column more in everything that shows a table.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from skill_bench.base import catalog
from skill_bench.report.render.figures import figures_of
from skill_bench.report.render.frame import to_frame
from skill_bench.report.render.page_data import page_data
from skill_bench.report.render.render import write_tables
from skill_bench.report.table import quantities
from skill_bench.report.table.build import build
from skill_bench.report.table.collect import Collection
from skill_bench.report.table.entry import FoundRecord
from skill_bench.report.table.published import PublishedRow, published_rows
from skill_bench.report.table.quantities import Quantity, superb_score
from skill_bench.report.table.table import Table

HEAD = "system,parameters_millions,ks_accuracy_percent,source\n"
DISK = Quantity(
    name="disk_megabytes",
    title="disk",
    unit="MB",
    decimals=1,
    better="lower",
    kind="cost",
    of=lambda facts: None if facts.profile is None or facts.system is None else 12.34,
    may_be_published=True,
    description="The size of its file",
    axis="megabytes on disk",
)


def test_the_packages_own_rows() -> None:
    rows, problems = published_rows(catalog.folder("leaderboard") / "published")
    assert problems == ()
    assert len(rows) == 46
    assert {row.suite for row in rows} == {"superb"}
    by_name = {row.system: row for row in rows}
    assert by_name["DPWavLM"].values["sid_accuracy_percent"] == 82.11
    assert by_name["DPWavLM"].values["macs_superb_giga"] == 589.2
    assert by_name["DPWavLM"].teacher == "WavLM Base+"
    assert by_name["DistilHuBERT"].values["superb_score_published"] == 717
    roles = {name: by_name[name].role for name in ("DPHuBERT", "WavLM Base+", "FBANK", "Mockingjay")}
    assert roles == {"DPHuBERT": "student", "WavLM Base+": "teacher", "FBANK": "baseline", "Mockingjay": "baseline"}
    assert all(row.role == "student" for row in rows if row.teacher), "what was distilled is a student"
    # No number of the paper is at hand: the row says so by empty cells.
    assert set(by_name["SKILL"].values.values()) == {None}


def test_printed_scores_are_those_of_the_rows_metrics() -> None:
    """Within the rounding of the metrics, so that no row was typed wrong."""
    rows, _ = published_rows(catalog.folder("leaderboard") / "published")
    both = {row.system: (superb_score(row.values), row.values["superb_score_published"]) for row in rows}
    known = {name: (own, stated) for name, (own, stated) in both.items() if own is not None and stated is not None}
    assert len(known) > 30
    assert [name for name, (own, stated) in known.items() if abs(own - stated) > 2] == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD + "A,1,90,\n", r"x\.csv:2: 'A' has no source\. Cite where"),
        (HEAD + ",1,90,paper\n", r"x\.csv:2: has no system"),
        (HEAD + "A,1,high,paper\n", r"x\.csv:2: ks_accuracy_percent is 'high', not a number"),
        (HEAD + "A,1,9_6.6,paper\n", r"x\.csv:2: ks_accuracy_percent is '9_6\.6', not a number"),
        (HEAD + "A,1,nan,paper\n", r"x\.csv:2: ks_accuracy_percent is 'nan'"),
        (HEAD + "A,1,90,one, two\n", r"x\.csv:2: has another number of cells"),
        (HEAD + "A,1\n", r"x\.csv:2: has another number of cells"),
        (HEAD + "A,1,90,paper\nA,1,91,paper\n", r"x\.csv: 'A' is there 2 times \(lines 2, 3\)"),
        (
            "system,role,ks_accuracy_percent,source\nA,pupil,1,paper\n",
            r"x\.csv:2: role is 'pupil', expected teacher, student, baseline or nothing",
        ),
        ("system,ks_accuracy_percent\nA,1\n", r"x\.csv: has no column 'source'"),
        (
            "system,parameter_millions,source\n",
            r"unknown column 'parameter_millions'\. Did you mean 'parameters_millions'",
        ),
    ],
)
def test_a_faulty_table_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "x.csv").write_text(text)
    rows, problems = published_rows(tmp_path)
    assert rows == []
    assert len(problems) == 1
    assert re.search(message, problems[0])


def test_no_table_at_all_is_a_problem(tmp_path: Path) -> None:
    rows, (problem,) = published_rows(tmp_path)
    assert rows == []
    assert "holds no *.csv" in problem


@pytest.fixture
def table(make_record: Any, make_profile: Any, monkeypatch: pytest.MonkeyPatch) -> Table:
    """One measured and one published system, with one quantity more than there are."""
    monkeypatch.setattr(quantities, "QUANTITIES", (*quantities.QUANTITIES, DISK))
    measured = Collection(origin="run", entries=(FoundRecord(record=make_record()),), profiles=(make_profile(),))
    published = PublishedRow(
        suite="superb", system="P", teacher=None, distillation_data=None, citation="x", values={"disk_megabytes": 99.04}
    )
    return build([measured], [published])


def test_a_new_quantity_is_in_every_rendering(table: Table, tmp_path: Path) -> None:
    csv, *texts, _ = write_tables(table, tmp_path)
    assert pd.read_csv(csv)["disk_megabytes"].tolist() == [12.34, 99.04]
    markdown, latex = (path.read_text() for path in texts)
    assert markdown.count("disk MB") == 2
    assert [text in markdown for text in ("12.3 |", "99.0 |")] == [True, True]
    assert [latex.count(f" & {part} ") for part in ("disk", "MB")] == [2, 2]
    assert [text in latex for text in ("12.3 ", "99.0 ")] == [True, True]
    sections = page_data(table, bibliography="")["sections"]
    found = [[c for c in section["columns"] if c["name"] == "disk_megabytes"] for section in sections]
    column = {"name": "disk_megabytes", "heading": "disk MB", "group": "more", "digits": 1, "better": "lower"}
    assert found == [[column | {"help": "The size of its file; lower is better", "kind": "cost", "unit": "MB"}]] * 2
    assert "pareto-disk" in dict(figures_of(table.sections[0]))


@pytest.mark.parametrize("with_it", [True, False])
def test_a_published_table_may_state_what_the_table_allows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_it: bool
) -> None:
    if with_it:
        monkeypatch.setattr(quantities, "QUANTITIES", (*quantities.QUANTITIES, DISK))
    (tmp_path / "superb.csv").write_text("system,disk_megabytes,source\nA,7,paper\n")
    rows, problems = published_rows(tmp_path)
    assert [row.values for row in rows] == ([{"disk_megabytes": 7.0}] if with_it else [])
    assert ["unknown column 'disk_megabytes'" in problem for problem in problems] == ([] if with_it else [True])


def test_names_are_told_once_and_only_costs_follow_scores() -> None:
    names = [one.name for one in quantities.QUANTITIES]
    assert len(set(names)) == len(names)
    kinds = [one.kind for one in quantities.QUANTITIES]
    assert kinds == sorted(kinds, reverse=True)
    assert all(one.description for one in quantities.QUANTITIES if one.decimals is not None)


def test_the_frame_knows_its_mean_and_its_ranks(make_record: Any) -> None:
    wrong = {"a": {"ks": 40, "pr": 50}, "b": {"ks": 20, "pr": 60}}
    records = [make_record(name, "ks", 100 - own["ks"]) for name, own in wrong.items()]
    records += [make_record(name, "pr", own["pr"]) for name, own in wrong.items()]
    frame = to_frame(build([Collection(origin="run", entries=tuple(FoundRecord(record=one) for one in records))]))
    assert frame[frame.mean_column].tolist() == [60, 55]
    assert frame.rank_columns == ["rank", "pr_per_percent_rank", "ks_accuracy_percent_rank"]
    assert frame[frame.rank_columns].to_numpy().tolist() == [[1, 2, 1], [2, 1, 2]]
    assert frame[frame["system"] == "b"].rank_columns == frame.rank_columns, "also of a part of it"
