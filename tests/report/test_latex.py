"""LaTeX: what is marked, what is escaped, what fits where, and whether TeX takes it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from skill_bench.report.render.latex import escape, latex
from skill_bench.report.render.panels import panels
from skill_bench.report.table.build import build
from skill_bench.report.table.collect import Collection
from skill_bench.report.table.entry import FoundRecord
from skill_bench.report.table.load import load_table
from skill_bench.report.table.published import PublishedRow

TEX = next((found for name in ("tectonic", "pdflatex") if (found := shutil.which(name))), None)
PAPER = PublishedRow(
    suite="superb",
    system="Paper",
    teacher=None,
    distillation_data=None,
    citation="a paper",
    values={"ks_accuracy_percent": 99.0},
)


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
    assert r"\label{tab:demo-protocol-strict}" in found


def test_synthetic_speech_ranks_nothing(make_record: Any) -> None:
    found = lines(*(make_record(name, "ks", n, synthetic=True) for name, n in (("a", 90), ("b", 80))))
    assert r"\raggedright A & 90.00 & 0.00 \\" in found, "neither a mean nor bold"


def test_only_the_tasks_that_were_asked_for(make_record: Any) -> None:
    own = [make_record("a", task, n, synthetic=True) for task, n in (("ks", 90), ("pr", 80))]
    found = lines(*own, published=(PAPER,), tasks=["pr"])
    assert r"\raggedright A & 80.00 & 0.00 \\" in found
    assert r"\raggedright \textit{Paper} \\" in found


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
def test_the_shipped_tables_fit_a_page_of_two_columns(tmp_path: Path) -> None:
    assert TEX is not None
    table = load_table()
    body = latex(table) + latex(table, tasks=["ks"])
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
