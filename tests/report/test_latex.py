"""LaTeX: what is marked, what is escaped."""

from __future__ import annotations

from typing import Any

from skill_bench.report.render.latex import escape, latex
from skill_bench.report.table.build import build
from skill_bench.report.table.collect import Collection
from skill_bench.report.table.entry import FoundRecord
from skill_bench.report.table.published import PublishedRow


def lines(*records: Any, published: tuple[PublishedRow, ...] = ()) -> list[str]:
    entries = tuple(FoundRecord(record=record) for record in records)
    return [line.strip() for line in latex(build([Collection(origin="run", entries=entries)], published)).splitlines()]


def test_best_is_bold_second_underlined_in_the_metrics_own_direction(make_record: Any) -> None:
    found = lines(
        *(make_record(name, "ks", n) for name, n in (("a", 90), ("b", 80), ("c", 70))),
        *(make_record(name, "pr", n) for name, n in (("a", 60), ("b", 20), ("c", 40))),
    )
    assert r"B & \underline{80.00} & \textbf{20.00} & \textbf{80.0} & 0.00 \\" in found
    assert r"A & \textbf{90.00} & 60.00 & \underline{65.0} & 0.00 \\" in found
    assert r"C & 70.00 & \underline{40.00} & \underline{65.0} & 0.00 \\" in found
    assert found.count(r"\toprule") == found.count(r"\bottomrule") == 1
    assert r"\begin{tabular}{lrrrr}" in found


def test_special_characters_are_escaped(make_record: Any) -> None:
    record = make_record()
    record = record.model_copy(update={"system": record.system.model_copy(update={"title": "50% & a_b"})})
    found = lines(record)
    assert any(line.startswith(r"50\% \& a\_b & \textbf{80.00}") for line in found)
    assert r"system & KS acc \% $\uparrow$ & mean & params M \\" in found
    assert escape("\\~{") == r"\textbackslash{}\textasciitilde{}\{"


def test_published_systems_are_in_a_table_of_their_own(make_record: Any) -> None:
    paper = PublishedRow(
        suite="superb",
        system="Paper",
        teacher=None,
        distillation_data=None,
        citation="a paper",
        values={"ks_accuracy_percent": 99.0},
    )
    found = lines(make_record(), published=(paper,))
    assert found.count(r"\begin{table}") == 2
    assert r"\textit{Paper} & \textbf{99.00} \\" in found
