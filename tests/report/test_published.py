"""Published tables: what is in the package, and what a faulty one says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from skill_bench.base import catalog
from skill_bench.report.table.published import published_rows
from skill_bench.report.table.score import superb_score

HEAD = "system,parameters_millions,ks_accuracy_percent,source\n"


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
