"""LaTeX: what is marked, what is escaped, what fits where, and whether TeX takes it.

The table on a terminal: what is in it, whose row is first, and that it fits.
"""

from __future__ import annotations

import io
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import made_samples as made
import numpy as np
import pytest
from rich.console import Console

from skill_bench.base.errors import UnknownName
from skill_bench.records.record import Metric
from skill_bench.report.render.latex import escape, latex
from skill_bench.report.render.layout import panels
from skill_bench.report.render.terminal import print_section, require_columns
from skill_bench.report.statistics.interval import Interval
from skill_bench.report.table.build import build
from skill_bench.report.table.collect import Collection, collect
from skill_bench.report.table.entry import FoundRecord
from skill_bench.report.table.published import PublishedRow
from skill_bench.report.table.table import Section, Table
from skill_bench.report.table.uncertainty import with_intervals

TEX = next((found for name in ("tectonic", "pdflatex") if (found := shutil.which(name))), None)
PAPER = PublishedRow(
    suite="superb",
    system="Paper",
    teacher=None,
    distillation_data=None,
    citation="a paper",
    values={"ks_accuracy_percent": 99.0},
)
TASKS = ("ks", "sid", "er", "pr")


def lines(*records: Any, published: tuple[PublishedRow, ...] = (), tasks: list[str] | None = None) -> list[str]:
    entries = tuple(FoundRecord(record=record) for record in records)
    table = build([Collection(origin="run", entries=entries)], published)
    return [line.strip() for line in latex(table, tasks=tasks).splitlines()]


def test_best_is_bold_second_underlined_in_the_metrics_own_direction(make_record: Any) -> None:
    found = lines(
        *(make_record(name, "ks", n, synthetic=False) for name, n in (("a", 90), ("b", 80), ("c", 70))),
        *(make_record(name, "pr", n, synthetic=False) for name, n in (("a", 60), ("b", 20), ("c", 40))),
    )
    assert r"\raggedright B & \textbf{20.00} & \underline{80.00} & \textbf{80.0} & 0.00 \\" in found
    assert r"\raggedright A & 60.00 & \textbf{90.00} & \underline{65.0} & 0.00 \\" in found
    assert r"\raggedright C & \underline{40.00} & 70.00 & \underline{65.0} & 0.00 \\" in found
    assert found.count(r"\toprule") == found.count(r"\bottomrule") == 1
    assert r"\label{tab:demo-recorded-speech-protocol-strict}" in found


def test_what_prints_alike_is_marked_alike(make_record: Any) -> None:
    scores = (("a", 90.0), ("b", 89.999), ("c", 70))
    found = lines(*(make_record(name, "ks", score, synthetic=False) for name, score in scores))
    assert sum(r"\textbf{90.00}" in line for line in found) == 2
    assert not any(r"\underline" in line for line in found), "the third is not the second"


def test_a_system_of_which_nothing_is_known_is_no_row_of_dashes() -> None:
    unknown = replace(PAPER, system="Unknown", values={})
    found = lines(published=(PAPER, unknown))
    assert any("Paper" in line for line in found)
    assert not any("Unknown" in line for line in found)


def test_what_has_no_rank_or_does_not_count_is_not_the_best(make_record: Any) -> None:
    records = [
        *(make_record(name, "ks", n, synthetic=False) for name, n in (("a", 90), ("b", 80), ("c", 95))),
        *(make_record(name, "pr", n, synthetic=False) for name, n in (("a", 60), ("b", 20))),
    ]
    (whole,) = build([Collection(origin="run", entries=tuple(FoundRecord(record=one) for one in records))]).sections
    rows = [line for line in latex(Table(sections=(whole,))).splitlines() if "raggedright" in line]
    assert [r"\textbf{90.00}" in row for row in rows] == [False, True, False], "C, which lacks PR, is better"
    rows = [
        line
        for line in latex(Table(sections=(replace(whole, left_out=("pr",)),))).splitlines()
        if "raggedright" in line
    ]
    assert not any(r"\textbf{20.00}" in row for row in rows)


def test_half_an_interval_does_not_leave_the_scale(make_record: Any) -> None:
    (whole,) = build(
        [Collection(origin="run", entries=(FoundRecord(record=make_record("a", "ks", 2, synthetic=False)),))]
    ).sections
    for low, high, said in ((0.3, 9.9, r"{\tiny [0.3, 9.9]}"), (1.0, 3.0, r"{\tiny$\,\pm$1.0}")):
        interval = Interval(low=low, high=high, level=0.95, method="by hand")
        scores = {name: replace(cell, interval=interval) for name, cell in whole.rows[0].scores.items()}
        section = replace(whole, rows=(replace(whole.rows[0], scores=scores),))
        assert said in latex(Table(sections=(section,)))


@pytest.mark.parametrize("tasks", [None, ["ks", "pr"]])
def test_the_caption_names_what_the_mean_is_over_and_what_the_interval_is(
    make_record: Any, tasks: list[str] | None
) -> None:
    records = [make_record("a", task, 90, synthetic=False) for task in ("ks", "pr", "sid")]
    (whole,) = build([Collection(origin="run", entries=tuple(FoundRecord(record=one) for one in records))]).sections
    for left_out, said in (
        (("sid",), "; mean over PR, KS alone: on the other tasks the teacher is not clearly ahead of controls that "),
        ((), ""),
    ):
        text = latex(Table(sections=(replace(whole, left_out=left_out),)), tasks=tasks)
        (caption,) = (line for line in text.splitlines() if r"\caption" in line)
        assert r"$\pm$ half of the 95 \% confidence interval over test items and seeds; " in caption
        assert (said in caption) if said else ("mean over" not in caption)


def test_synthetic_speech_ranks_nothing(make_record: Any) -> None:
    found = lines(*(make_record(name, "ks", n, synthetic=True) for name, n in (("a", 90), ("b", 80))))
    assert r"\raggedright A & 90.00 & 0.00 \\" in found, "neither a mean nor bold"


def test_only_the_tasks_that_were_asked_for(make_record: Any) -> None:
    own = [make_record("a", task, n, synthetic=True) for task, n in (("ks", 90), ("pr", 80))]
    found = lines(*own, published=(PAPER,), tasks=["pr"])
    assert r"\raggedright A & 80.00 & 0.00 \\" in found
    assert not any("Paper" in line for line in found)
    assert sum(line.startswith(r"\begin{table}") for line in found) == 1


def test_special_characters_are_escaped(make_record: Any) -> None:
    record = make_record(synthetic=True)
    record = record.model_copy(update={"system": record.system.model_copy(update={"title": "50% & a_b"})})
    found = lines(record)
    assert any(line.startswith(r"\raggedright 50\% \& a\_b & 80.00") for line in found)
    assert r"& KS & params \\" in found
    assert r"system & acc \% $\uparrow$ & M \\" in found
    assert escape("\\~{") == r"\textbackslash{}\textasciitilde{}\{"


def test_published_systems_are_in_a_table_of_their_own(make_record: Any) -> None:
    found = lines(make_record(), published=(PAPER,))
    assert sum(line.startswith(r"\begin{table}") for line in found) == 2
    assert r"\raggedright \textit{Paper} & \textbf{99.00} \\" in found


def test_columns_go_into_as_many_panels_as_they_need() -> None:
    assert panels([3, 4, 5, 1], 8) == [[0, 1], [2, 3]]
    assert panels([9, 1], 8) == [[0], [1]], "what fits nowhere stands alone"
    assert panels([], 8) == [[]]


@pytest.mark.skipif(TEX is None, reason="no tectonic and no pdflatex (Debian: texlive-latex-recommended)")
def test_the_shipped_tables_fit_a_page_of_two_columns(shipped: Table, tmp_path: Path) -> None:
    assert TEX is not None
    body = latex(shipped) + latex(shipped, tasks=["ks"])
    assert r"\begin{table}[t]" in body, "one as wide as one column"
    assert body.count(r"\begin{tabular}") >= body.count(r"\caption{") >= 2
    assert re.search(r"\d\{\\tiny\$\\,\\pm\$\d", body), "intervals"
    (tmp_path / "paper.tex").write_text(
        r"\documentclass[twocolumn]{article}\usepackage[textwidth=17cm,columnsep=0.4cm]{geometry}\usepackage{booktabs}"
        + "\\begin{document}\n" + body + "\\end{document}\n"
    )  # fmt: skip
    options = ["--keep-logs"] if TEX.endswith("tectonic") else ["-interaction=nonstopmode", "-halt-on-error"]
    done = subprocess.run([TEX, *options, "paper.tex"], cwd=tmp_path, capture_output=True, text=True, check=False)
    log = (tmp_path / "paper.log").read_text(errors="replace")
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in log


def printed(section: Section, *, columns: Sequence[str] = (), width: int = 80) -> list[str]:
    text = io.StringIO()
    print_section(section, Console(file=text, width=width, force_terminal=False), columns=columns)
    return text.getvalue().splitlines()


def section(make_record: Any, *, own: str | None = "own", n: int = 12, **more: Any) -> Section:
    """``n`` shipped systems, each a point better than the next, and the caller's between the fifth and the sixth."""
    shipped = [make_record(f"s{i:02}", task, 90 - i, **more) for i in range(n) for task in TASKS]
    mine = [] if own is None else [make_record(own, task, 85.5, **more) for task in TASKS]
    collections = [
        Collection(origin="run", entries=tuple(FoundRecord(record=r, origin="run") for r in mine)),
        Collection(origin="shipped", entries=tuple(FoundRecord(record=r, origin="shipped") for r in shipped)),
    ]
    (found,) = build(collections).sections
    return found


def names(lines: Sequence[str]) -> list[str]:
    """Marks and names of the first block's rows."""
    start = next(i for i, line in enumerate(lines) if line.startswith("──"))
    rows = lines[start + 1 : lines.index("", start)]
    return [" ".join(row.split()[: 2 if row.startswith(">") else 1]) for row in rows]


def test_the_callers_row_is_first_and_marked_then_its_neighbours_best_first(make_record: Any) -> None:
    lines = printed(section(make_record, synthetic=False))
    assert names(lines)[0] == "> Own"
    assert len(names(lines)) == 7, "three above it and three below it"
    assert names(lines)[1:] == sorted(names(lines)[1:])
    assert "  6 rows that are farther away are not shown: skill-bench leaderboard has all." in lines
    assert names(printed(section(make_record, own=None, synthetic=False))) == [f"S{i:02}" for i in range(12)]


def test_the_columns_that_matter_and_others_when_they_are_asked_for(make_record: Any) -> None:
    found = section(make_record, synthetic=False)
    heading = printed(found)[2].split()
    assert heading == ["params"]
    assert printed(found)[3].split() == ["system", "mean", "M"]
    two = printed(found, columns=["er", "params"])
    assert (two[2].split(), two[3].split()) == (["ER", "acc", "params"], ["system", "%", "↑", "M"])
    assert "SID" in "".join(printed(found, columns=["tasks"]))
    assert "measured, shipped" in "".join(printed(found, columns=["all"]))


def test_synthetic_speech_has_tasks_and_no_mean(make_record: Any) -> None:
    text = "\n".join(printed(section(make_record, synthetic=True)))
    assert "mean" not in text
    assert re.search(r"^ +KS +PR +SID", text, re.MULTILINE) or "KS acc" in text
    assert "Synthetic speech: this shows that everything works, and ranks nothing." in text


@pytest.mark.parametrize("width", [60, 80, 200])
def test_it_fits(width: int, make_record: Any) -> None:
    found = section(make_record, own="a name that is much longer than the column")
    lines = printed(found, columns=["all"], width=width)
    assert max(map(len, lines)) <= width
    assert not any("…" in line for line in lines)
    n_blocks = sum(line.lstrip().startswith("system") for line in lines)
    assert n_blocks == {60: 2, 80: 2, 200: 1}[width] if width != 60 else n_blocks >= 2


def test_intervals_stand_behind_the_numbers(tmp_path: Path, make_record: Any) -> None:
    right = np.arange(100) < 80
    metrics = {"accuracy": Metric.percent(80, 100, higher_is_better=True)}
    make_record("own", "ks", metrics=metrics).save(tmp_path, predictions=made.label_rows(right))
    (found,) = with_intervals(build([collect(tmp_path)])).sections
    text = "\n".join(printed(found))
    assert "80.0 ± 7.8" in text, "half of Wilson's interval"
    assert "> was measured here; ±: half of the 95 % confidence interval." in text


def test_an_unknown_column_is_said_before_anything_runs() -> None:
    require_columns(["mean", "ks", "of_teacher", "all"])
    with pytest.raises(UnknownName, match=r"unknown column 'parms'\. Did you mean 'params'\?"):
        require_columns(["parms"])
