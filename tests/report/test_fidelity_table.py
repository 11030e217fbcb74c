"""Fidelity beside the scores: the column, whose mean it may be, and the figure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from made_records import PROVENANCE

from skill_bench.base.errors import RecordError
from skill_bench.records.fidelity import R2, Fidelity, FidelitySettings, LayerFidelity, Reading
from skill_bench.records.record import Record, System
from skill_bench.records.store import pack
from skill_bench.report.render.fidelity import fidelity
from skill_bench.report.render.figures import write_figures
from skill_bench.report.render.page_data import page_data
from skill_bench.report.render.render import write_tables
from skill_bench.report.render.rows import named
from skill_bench.report.table.build import build, fidelity_of
from skill_bench.report.table.collect import Collection, collect
from skill_bench.report.table.entry import FoundRecord
from skill_bench.report.table.table import Table


def r2(value: float) -> R2:
    return R2(value=value, low=value - 0.1, high=value + 0.1)


def kept(
    student: str, value: float, *, corpus: str = "a", teacher: str = "teacher", began: str = "2026-01-01T00:00:00"
) -> Fidelity:
    """Layers around a mean."""
    layers = tuple(
        LayerFidelity(
            teacher_layer=at, student_layer=at, plain=r2(0.9), whitened=r2(value + 0.1 * (1 - at)), n_directions=5,
            plain_penalties=(1e-3,), whitened_penalties=(1e-3,),
        )
        for at in range(3)
    )  # fmt: skip
    reading = Reading(
        mapping="same", layers=layers, plain=r2(0.9), whitened=r2(value), plain_without=(0.9,) * 3,
        whitened_without=(value,) * 3,
    )  # fmt: skip
    settings = FidelitySettings(
        n_folds=3, n_groups=3, penalties=(1e-3,), whitening_threshold=1e-8, max_seconds=30, confidence=0.95
    )
    return Fidelity(
        teacher=System(name=teacher, title=teacher, identity=teacher),
        student=System(name=student, title=student, identity=student),
        corpus=corpus, data_fingerprint=f"of {corpus}", n_utterances=3, n_speakers=3, n_utterances_without_speaker=0,
        n_utterances_without_frames=0, n_frames=300, audio_seconds=6.0, settings=settings, readings=(reading,),
        provenance=PROVENANCE.model_copy(update={"started_at": began}),
    )  # fmt: skip


def table(make_record: Callable[..., Record], documents: Sequence[Fidelity]) -> Table:
    entries = tuple(FoundRecord(record=make_record(name, synthetic=False)) for name in ("skill", "dphubert", "teacher"))
    return build([Collection(origin="run", entries=entries, fidelity=tuple(documents))])


def means(made: Table) -> dict[str, float | None]:
    return {row.system: row.quantities.get("fidelity_r2") for row in made.sections[0].rows}


def test_the_column_is_the_mean_over_corpora(make_record: Any, tmp_path: Path) -> None:
    found = [
        kept("skill", 0.4),
        kept("skill", 0.6, corpus="b"),
        kept("dphubert", 0.7),
        kept("dphubert", 0.9, corpus="b"),
    ]
    made = table(make_record, found)
    assert means(made) == pytest.approx({"skill": 0.5, "dphubert": 0.8, "teacher": None})
    csv, markdown, latex, _ = write_tables(made, tmp_path)
    assert pd.read_csv(csv).set_index("system")["fidelity_r2"].dropna().to_dict() == pytest.approx(
        {"skill": 0.5, "dphubert": 0.8}
    )
    assert "fidelity R2" in markdown.read_text()
    assert r"\textbf{0.800}" in latex.read_text(), "higher is better"
    columns = page_data(made, bibliography="")["sections"][0]["columns"]
    assert [one["better"] for one in columns if one["name"] == "fidelity_r2"] == ["higher"]


def test_without_documents_there_is_no_column(make_record: Any, tmp_path: Path) -> None:
    made = table(make_record, [])
    assert set(means(made).values()) == {None}
    assert "fidelity" not in write_tables(made, tmp_path)[1].read_text()
    assert fidelity(named(made.sections[0])) is None


def test_a_student_that_misses_a_corpus_has_no_mean_and_says_so(make_record: Any) -> None:
    made = table(make_record, [kept("skill", 0.4), kept("dphubert", 0.7), kept("dphubert", 0.9, corpus="b")])
    assert means(made) == pytest.approx({"skill": None, "dphubert": 0.8, "teacher": None})
    notes = {row.system: row.notes for row in made.sections[0].rows}
    assert notes["skill"] == ("no mean fidelity: not measured on b",)
    assert notes["dphubert"] == ()


def test_the_newest_of_a_corpus_and_of_the_teachers_counts(make_record: Any) -> None:
    old, new = "2026-01-01T00:00:00", "2026-02-01T00:00:00"
    found = [kept("skill", 0.4, began=new), kept("skill", 0.3, began=old)]
    assert means(table(make_record, found))["skill"] == pytest.approx(0.4)
    found = [kept("skill", 0.4, began=new), kept("skill", 0.9, corpus="b", teacher="other", began=old)]
    assert means(table(make_record, found))["skill"] == pytest.approx(0.4)


def test_a_document_belongs_to_exactly_its_model(make_record: Any) -> None:
    other = kept("skill", 0.4)
    other = other.model_copy(update={"student": other.student.model_copy(update={"identity": "another"})})
    assert means(table(make_record, [other]))["skill"] is None
    weights = other.model_copy(update={"student": other.student.model_copy(update={"checkpoint_sha256": "a" * 64})})
    entry = FoundRecord(record=make_record("skill", synthetic=False))
    system = entry.record.system.model_copy(update={"checkpoint_sha256": "a" * 64})
    assert fidelity_of(system, [weights]).mean == pytest.approx(0.4), "the same weights under another identity"
    assert fidelity_of(system, [other]).mean is None


def lines(spec: dict[str, Any], panel: dict[str, Any]) -> dict[str, list[float]]:
    """By system, the values of a panel's layers."""
    found: dict[str, list[float]] = {}
    for point in sorted(spec["datasets"][panel["data"]["name"]], key=lambda point: point["layer"]):
        found.setdefault(point["label"], []).append(point["value"])
    return found


def test_the_figure_has_a_line_a_student_and_a_panel_a_corpus(make_record: Any, tmp_path: Path) -> None:
    found = [kept("skill", 0.4), kept("dphubert", 0.7), kept("dphubert", 0.8, corpus="b")]
    made = table(make_record, found)
    spec = fidelity(named(made.sections[0]))
    assert spec is not None
    panels = [panel for row in spec["vconcat"] for panel in row["hconcat"]]
    assert [panel["title"] for panel in panels] == ["a", "b", "a", "b"]
    whitened_a, whitened_b, plain_a, plain_b = (lines(spec, panel) for panel in panels)
    assert whitened_a["Skill"] == pytest.approx([0.5, 0.4, 0.3])
    assert whitened_a["Dphubert"] == pytest.approx([0.8, 0.7, 0.6])
    assert whitened_b == {"Dphubert": pytest.approx([0.9, 0.8, 0.7])}
    assert set(plain_a) == {"Dphubert", "Skill"}
    assert plain_b == {"Dphubert": pytest.approx([0.9] * 3)}
    drawn = {path.suffix for path in write_figures(made, tmp_path) if path.name.startswith("fidelity-demo-")}
    assert drawn == {".svg", ".png", ".pdf"}


def test_documents_are_packed_with_the_records(make_record: Any, tmp_path: Path) -> None:
    make_record().save(tmp_path / "r")
    path = kept("skill", 0.4).write(kept("skill", 0.4).path(tmp_path / "r"))
    packed = pack(tmp_path / "r", tmp_path / "r.zip")
    assert path.relative_to(tmp_path / "r").as_posix() in packed.files
    assert collect(tmp_path / "r.zip").fidelity == (kept("skill", 0.4),)
    path.write_text(path.read_text().replace("0.4", "0.5"))
    with pytest.raises(RecordError, match="damaged"):
        pack(tmp_path / "r", tmp_path / "r2.zip")


def test_no_document_takes_the_place_of_another(tmp_path: Path) -> None:
    one = kept("skill", 0.4)
    others = [kept("skill", 0.4, teacher="other"), kept("dphubert", 0.4), kept("skill", 0.4, corpus="b")]
    others += [one.model_copy(update={"data_fingerprint": "other speech of that name"})]
    assert len({document.path(tmp_path) for document in (one, *others)}) == 5
    assert kept("skill", 0.9).path(tmp_path) == one.path(tmp_path), "measured again"


def test_a_document_whose_parts_do_not_fit_is_refused() -> None:
    found = kept("skill", 0.4)
    for part in ({"readings": ()}, {"settings": found.settings.model_copy(update={"n_groups": 4})}):
        with pytest.raises(ValueError, match=r"expected at least one reading|4 groups of speakers, but means without"):
            Fidelity.model_validate(found.model_copy(update=part).model_dump())
