"""Records scored again: unchanged, corrected, stale, refused; and how one is shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from skill_bench.base import catalog
from skill_bench.base.archive import find, read_bytes
from skill_bench.base.errors import RecordError
from skill_bench.cli.main import app
from skill_bench.evaluation.rescore import rescore
from skill_bench.evaluation.task_files import load_task
from skill_bench.metrics import scoring
from skill_bench.metrics.ratio import Ratio
from skill_bench.metrics.scoring import Scorer
from skill_bench.records.record import Record, read_predictions
from skill_bench.records.store import pack
from skill_bench.report.render.describe import describe
from skill_bench.report.table import entry
from skill_bench.report.table.build import build
from skill_bench.report.table.collect import collect
from skill_bench.tasks import TaskSpec

RESULTS = catalog.folder("leaderboard") / "results"


def _shipped(name: str) -> Path | None:
    return find(RESULTS, f"demo/skill/{name}")


CURRENT = [
    task
    for task in catalog.names("tasks")
    if (file := _shipped(f"{task}-s0.json")) is not None
    and Record.read(file).key.task_version == load_task(task).version
]


def _copy(tmp_path: Path, task: str) -> Path:
    folder = tmp_path / "demo" / "skill"
    folder.mkdir(parents=True, exist_ok=True)
    for name in (f"{task}-s0.json", f"{task}-s0.predictions.jsonl"):
        file = _shipped(name)
        assert file is not None
        (folder / name).write_bytes(read_bytes(file))
    return folder / f"{task}-s0.json"


def _newer(task: str, **changes: Any) -> TaskSpec:
    spec = load_task(task)
    return spec.model_copy(update={"version": spec.version + 1, "predictions_since": spec.version, **changes})


@pytest.mark.parametrize("task", CURRENT)
def test_shipped_predictions_give_the_shipped_metrics(tmp_path: Path, task: str) -> None:
    assert "ks" in CURRENT
    file = _copy(tmp_path, task)
    content = file.read_bytes()
    found = rescore(file)
    assert not found.changed
    assert found.before.metrics[found.before.metric].value is not None
    assert file.read_bytes() == content


def test_a_corrected_scorer_makes_a_record_of_the_new_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = _copy(tmp_path, "ks")
    before, rows = Record.read(file), read_predictions(file, Record.read(file))
    generous = Scorer(name="accuracy", share=lambda row: Ratio(numerator=1, denominator=1))
    monkeypatch.setitem(scoring.SCORERS, "accuracy", {"accuracy": generous})
    found = rescore(file, task=_newer("ks"))
    assert found.changed
    after = Record.read(file)
    assert after.key.task_version == before.key.task_version + 1
    assert after.metrics["accuracy"].value == 100
    assert after.rescored_from_version == before.key.task_version
    assert after.system == before.system
    assert after.provenance == before.provenance
    assert [row["numerator"] for row in read_predictions(file, after)] == [1] * len(rows)
    aside = sorted(path.name.split("-", 1)[1] for path in (file.parent / "replaced").iterdir())
    assert aside == ["ks-s0.json", "ks-s0.predictions.jsonl"], "the older record is kept, out of the table's way"
    assert f"rescored from version {before.key.task_version}" in describe(after)


def test_other_numbers_under_the_same_version_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = _copy(tmp_path, "ks")
    generous = Scorer(name="accuracy", share=lambda row: Ratio(numerator=1, denominator=1))
    monkeypatch.setitem(scoring.SCORERS, "accuracy", {"accuracy": generous})
    with pytest.raises(RecordError, match=r"accuracy is [\d.]+ in the record, and 100\.0 from its predictions"):
        rescore(file)


def test_predictions_that_would_be_others_now_are_refused(tmp_path: Path) -> None:
    file = _copy(tmp_path, "ks")
    now = load_task("ks").version
    newer = load_task("ks").model_copy(update={"version": now + 2, "predictions_since": now + 1})
    with pytest.raises(
        RecordError,
        match=f"version {now} of task 'ks'; the predictions of versions {now + 1} to {now + 2} can be scored",
    ):
        rescore(file, task=newer)
    with pytest.raises(RecordError, match=f"versions {now + 1} to {now + 1} can be scored"):
        rescore(file, task=load_task("ks").model_copy(update={"version": now + 1}))


def test_changed_or_missing_predictions_are_refused(tmp_path: Path) -> None:
    file = _copy(tmp_path, "ks")
    beside = file.with_name("ks-s0.predictions.jsonl")
    beside.write_text(beside.read_text().replace('"yes"', '"no"', 1))
    with pytest.raises(RecordError, match=r"is not the file that ks-s0\.json was written with"):
        rescore(file)
    beside.unlink()
    with pytest.raises(RecordError, match="cannot be read"):
        rescore(file)


def _older(file: Path) -> Record:
    """The record as of version 0 of its task."""
    record = Record.read(file)
    older = record.model_copy(update={"key": record.key.model_copy(update={"task_version": 0})})
    older.write(file)
    return older


def test_stale_records_are_marked_and_never_share_a_table_with_current_ones(tmp_path: Path) -> None:
    _older(_copy(tmp_path, "ks"))
    table = build([collect(tmp_path), collect(RESULTS, origin="shipped")])
    for section in table.sections:
        versions = {e.record.key.task_version for row in section.rows for e in row.entries if e.record.key.task == "ks"}
        assert len(versions) <= 1
    notes = [note for section in table.sections for note in section.notes]
    stale = [note for note in notes if note.startswith("ks") and "stale" in note]
    now = load_task("ks").version
    assert stale == [f"ks is stale: task 'ks' was version 0 and is now {now}; run that cell again"]


def test_rescoring_is_advised_where_it_can_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    older = _older(_copy(tmp_path, "ks"))
    for since, advised in ((0, True), (1, False)):
        content = {"version": 2, "predictions_since": since}
        monkeypatch.setattr(entry, "read_toml", lambda path, content=content: content)
        said = entry.staleness(older)
        assert said is not None
        assert ("run skill-bench rescore on the record, or" in said) == advised


def test_a_record_in_an_archive_is_confirmed_but_never_replaced(tmp_path: Path) -> None:
    _copy(tmp_path / "records", "ks")
    place = tmp_path / "a.zip"
    pack(tmp_path / "records", place)
    before = place.read_bytes()
    file = place / "demo" / "skill" / "ks-s0.json"
    assert not rescore(file).changed
    now = load_task("ks").version
    stays = rf"version {now}, now {now + 1}, and an archive stays as it is\. Unpack it \(skill-bench"
    with pytest.raises(RecordError, match=stays):
        rescore(file, task=_newer("ks"))
    assert place.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip", "records"]


def test_commands(tmp_path: Path) -> None:
    _copy(tmp_path, "ks")
    run = CliRunner()
    found = run.invoke(app, ["rescore", str(tmp_path)])
    assert found.exit_code == 0, found.output
    assert "as recorded" in found.output
    file = tmp_path / "demo" / "skill" / "ks-s0.json"
    shown = run.invoke(app, ["show", str(file)])
    assert shown.exit_code == 0
    record = Record.read(file)
    assert "(judges the task)" in shown.output
    assert f"learning rate {record.selection.learning_rate:g}" in shown.output  # type: ignore[union-attr]
    heaviest = max(range(len(record.layer_weights)), key=record.layer_weights.__getitem__)
    (line,) = [line for line in shown.output.splitlines() if line.count("█") == 40]
    assert line.split()[:2] == [str(heaviest), f"{record.layer_weights[heaviest]:.3f}"]
    _older(file)
    assert isinstance(run.invoke(app, ["rescore", str(tmp_path)]).exception, RecordError)
    assert "stale: task 'ks' was version 0" in run.invoke(app, ["show", str(file)]).output
