"""Every number is found again in the predictions; one that was changed is named, however it was hidden.

Bad input: everything that is wrong is named in one list, and the table is made from the rest.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import made_samples as made
import numpy as np
import pytest
from typer.testing import CliRunner

from skill_bench.base import catalog
from skill_bench.base.errors import RecordError
from skill_bench.cli.main import app
from skill_bench.metrics.scoring import score
from skill_bench.records.record import Record
from skill_bench.report.render.frame import to_frame
from skill_bench.report.table.build import build
from skill_bench.report.table.collect import collect
from skill_bench.report.table.load import load_table
from skill_bench.report.table.table import Table
from skill_bench.report.table.verify import Verification, verify

Change = Callable[[Record, made.Rows], tuple[Record, made.Rows]]
PUBLISHED = "system,ks_accuracy_percent,source\nGood,90,a paper\nNo source,91,\nTwin,1,paper\nTwin,2,paper\n"


@pytest.fixture
def out(tmp_path: Path, make_record: Any) -> Path:
    """Two systems on KS with two seeds, and on PR; two folds."""
    g = np.random.default_rng(0)
    for name in ("a", "b"):
        for seed in (0, 1):
            save(tmp_path, make_record(name, "ks", seed=seed), made.label_rows(g.random(40) < 0.7, folds=(20, 20)))
        lengths = np.arange(5, 35)
        save(tmp_path, make_record(name, "pr"), made.error_rows(g.binomial(lengths, 0.3), lengths))
    return tmp_path


def save(folder: Path, record: Record, rows: made.Rows) -> Path:
    metrics, folds = score(record.metric, rows)
    assert record.data is not None
    data = record.data.model_copy(update={"n_test": len(rows)})
    return record.model_copy(update={"metrics": metrics, "folds": folds, "data": data}).save(folder, predictions=rows)


def spoil(folder: Path, change: Change) -> Path:
    """Rewrites a record and its predictions with valid checksums, as a careful forger would."""
    path = folder / "demo" / "b" / "ks-s1.json"
    record = Record.read(path)
    rows = [json.loads(line) for line in path.with_suffix(".predictions.jsonl").read_text().splitlines()]
    record, rows = change(record, rows)
    record.save(folder, predictions=rows)
    return path


def found_in(folder: Path) -> Verification:
    return verify(build([collect(folder)]))


def test_what_the_package_ships_is_verified() -> None:
    found = verify(load_table(intervals=False))
    assert (found.mismatches, found.unverified) == ([], [])
    assert found.n_records >= 30
    assert found.n_numbers > 1000


def test_an_honest_folder(out: Path) -> None:
    found = found_in(out)
    assert (found.mismatches, found.unverified, found.n_records) == ([], [], 6)


def better_value(record: Record, rows: made.Rows) -> tuple[Record, made.Rows]:
    metric = record.metrics["accuracy"].model_copy(update={"value": 99.0})
    return record.model_copy(update={"metrics": {"accuracy": metric}}), rows


def better_fold(record: Record, rows: made.Rows) -> tuple[Record, made.Rows]:
    metric = record.folds["f1"]["accuracy"].model_copy(update={"value": 99.0})
    return record.model_copy(update={"folds": record.folds | {"f1": {"accuracy": metric}}}), rows


def better_counts(record: Record, rows: made.Rows) -> tuple[Record, made.Rows]:
    return record, [row | {"numerator": 1} for row in rows]


def fewer_items(record: Record, rows: made.Rows) -> tuple[Record, made.Rows]:
    kept = [row for row in rows if row["numerator"]]
    metrics, folds = score("accuracy", kept)
    return record.model_copy(update={"metrics": metrics, "folds": folds}), kept


def other_targets(record: Record, rows: made.Rows) -> tuple[Record, made.Rows]:
    changed = [row | {"target": row["prediction"], "numerator": 1} for row in rows]
    metrics, folds = score("accuracy", changed)
    return record.model_copy(update={"metrics": metrics, "folds": folds}), changed


def one_row_again(record: Record, rows: made.Rows) -> tuple[Record, made.Rows]:
    """The best row once more: metrics and folds are those of the longer list."""
    longer = [*rows, next(row for row in rows if row["numerator"])]
    metrics, folds = score("accuracy", longer)
    return record.model_copy(update={"metrics": metrics, "folds": folds}), longer


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (one_row_again, "ks-s1.json: 1 test items stand more than once, the first is 'u000"),
        (better_value, "ks-s1.json: accuracy is 99.0, the predictions give"),
        (better_fold, "ks-s1.json: accuracy of fold f1 is 99.0"),
        (better_counts, r"ks-s1.json: the counts of \d+ predictions do not fit their texts"),
        (fewer_items, r"ks-s1.json: \d+ test items or targets differ from those of .*ks-s0.json"),
        (other_targets, r"ks-s1.json: \d+ test items or targets differ from those of .*ks-s0.json"),
    ],
)
def test_every_forgery_is_found(out: Path, change: Change, message: str) -> None:
    spoil(out, change)
    assert collect(out).problems == (), "the checksums fit"
    found = found_in(out)
    assert any(re.search(message, one) for one in found.mismatches), found.mismatches


def test_speakers_that_differ_between_records_of_the_same_data_are_found(tmp_path: Path, make_record: Any) -> None:
    rows = made.label_rows(np.arange(40) % 2 == 0)
    save(tmp_path, make_record("a"), made.spoken(rows, np.arange(40) % 4))
    save(tmp_path, make_record("b"), rows)
    assert found_in(tmp_path).mismatches == [], "records of earlier versions name none"
    save(tmp_path, make_record("c"), made.spoken(rows, np.arange(40) % 5))
    (only,) = found_in(tmp_path).mismatches
    assert re.search(r"c/ks-s0.json: 32 speakers differ from those of .*a/ks-s0.json", only)


def searched(*, query: str = "q", document: str = "d", n: int = 6) -> made.Rows:
    return [
        {
            "id": f"q d{i}",
            "fold": "all",
            "query": query,
            "document": f"{document}{i}",
            "target": "present" if i % 2 else "absent",
            "score": float(i),
            "numerator": None,
            "denominator": None,
        }
        for i in range(n)
    ]


def tried(*, test: str = "b", n: int = 6) -> made.Rows:
    rows = made.trial_rows(np.arange(n) % 2 == 0, np.arange(n))
    return [row | {"id": f"{row['enrolment']} b{i}", "test": f"{test}{i}"} for i, row in enumerate(rows)]


@pytest.mark.parametrize(
    ("metric", "honest", "forged", "message"),
    [
        ("mtwv", searched(), searched(document="e"), "qbe-s0.json: 6 rows are of another query or document than their"),
        ("mtwv", searched(), searched(query="p"), "qbe-s0.json: 6 rows are of another query or document than their id"),
        ("mtwv", searched(), searched(n=5), "its predictions are of 5 utterances, the record says that 6 were tested"),
        ("eer", tried(), tried(test="c"), "qbe-s0.json: 6 rows are of another enrolment or test than their id says"),
        ("eer", tried(), tried(n=7), "its predictions are of 14 utterances, the record says that 12 were tested"),
    ],
)
def test_a_pair_and_a_trial_are_what_their_id_says(
    metric: str, honest: made.Rows, forged: made.Rows, message: str, tmp_path: Path, make_record: Any
) -> None:
    def saved(rows: made.Rows) -> Verification:
        metrics, _ = score(metric, rows)
        record = make_record("a", "qbe", metric=metric, metrics=metrics)
        data = record.data.model_copy(update={"n_test": {"mtwv": 6, "eer": 12}[metric]})
        record.model_copy(update={"data": data}).save(tmp_path, predictions=rows)
        return found_in(tmp_path)

    assert (saved(honest).mismatches, saved(honest).unverified) == ([], [])
    assert [one for one in saved(forged).mismatches if message in one]


def test_a_trial_that_stands_twice_may_be_honest_and_is_said(tmp_path: Path, make_record: Any) -> None:
    rows = tried()
    metrics, _ = score("eer", [*rows, rows[0]])
    make_record("a", "asv", metric="eer", metrics=metrics).save(tmp_path, predictions=[*rows, rows[0]])
    found = found_in(tmp_path)
    assert found.mismatches == []
    (only,) = found.unverified
    assert "asv-s0.json: 1 test items stand more than once, the first is 'e00000 b0'" in only


def test_changed_predictions_are_found(out: Path) -> None:
    path = out / "demo" / "b" / "pr-s0.predictions.jsonl"
    path.write_text(path.read_text().replace('"X', '"W'))
    (only,) = found_in(out).mismatches
    assert "is not the file that pr-s0.json was written with" in only


def test_a_number_of_the_table_that_no_record_gives_is_found(out: Path) -> None:
    table = build([collect(out)])
    section = table.sections[0]
    row = section.rows[0]
    wrong = replace(row.scores["ks_accuracy_percent"], value=99.0)
    cells, quantities = {**row.scores, "ks_accuracy_percent": wrong}, {**row.quantities, "mean_points": 99.0}
    rows = (replace(row, scores=cells, quantities=quantities), *section.rows[1:])
    found = verify(Table(sections=(replace(section, rows=rows),)))
    assert len(found.mismatches) == 2
    assert "ks_accuracy_percent is 99.0, the predictions give" in found.mismatches[0]
    assert "mean_points is 99.0" in found.mismatches[1]


def test_what_cannot_be_verified_is_said(out: Path, make_record: Any) -> None:
    make_record("a", "er").save(out)
    found = found_in(out)
    assert found.mismatches == []
    assert len(found.unverified) == 1
    assert "er-s0.json: keeps no predictions" in found.unverified[0]


def test_the_command(out: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own, folder_of = tmp_path / "own", catalog.folder
    for name in ("templates", "published"):  # everything but the records
        shutil.copytree(folder_of("leaderboard") / name, own / name)
    monkeypatch.setattr(catalog, "folder", lambda kind: own if kind == "leaderboard" else folder_of(kind))
    arguments = ["leaderboard", "--results", str(out), "--out", str(tmp_path / "o"), "--no-published", "--verify"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "verified: " in done.output
    assert "numbers of 6 records computed again from predictions, all match" in done.output
    path = spoil(out, better_value)
    done = CliRunner().invoke(app, arguments)
    assert isinstance(done.exception, RecordError)
    assert f"{path}: accuracy is 99.0, the predictions give" in str(done.exception)


@pytest.fixture
def spoiled(tmp_path: Path, make_record: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one good record and one of every fault; the published table has faults too."""
    results = tmp_path / "results"
    for name in ("good", "edited", "future", "nan", "double"):
        make_record(name, identity=name * 5).save(results)

    def change(name: str, old: str, new: str) -> None:
        path = results / "demo" / name / "ks-s0.json"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    change("edited", '"value": 80.0', '"value": 99.0')
    change("future", '"schema_version": 1', '"schema_version": 7')
    change("nan", '"value": 80.0', '"value": NaN')
    folder = results / "demo" / "double"
    shutil.copy(folder / "ks-s0.json", folder / "ks-s0 (copy).json")
    make_record("good", identity="another", seed=1).save(results)
    own = tmp_path / "leaderboard"
    for name in ("templates", "published"):
        shutil.copytree(catalog.folder("leaderboard") / name, own / name)
    (own / "published" / "superb.csv").write_text(PUBLISHED)
    folder_of = catalog.folder
    monkeypatch.setattr(catalog, "folder", lambda kind: own if kind == "leaderboard" else folder_of(kind))
    return results


FAULTS = {
    "edited": "edited/ks-s0.json: its contents do not fit its content_sha256",
    "future": "future/ks-s0.json: schema_version is 7, this skill-bench reads 1",
    "nan": "nan/ks-s0.json: not valid JSON (NaN is not a value a record may hold)",
    "double": "double on ks, seed 0: 2 records for one cell",
    "source": "superb.csv:3: 'No source' has no source",
    "twin": "superb.csv: 'Twin' is there 2 times (lines 4, 5)",
    "clash": "2 different models are called 'Good'",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_is_named(spoiled: Path, fault: str) -> None:
    problems = load_table(spoiled).problems
    assert len(problems) == len(FAULTS)
    assert sum(FAULTS[fault] in problem for problem in problems) == 1


def test_the_table_is_made_from_the_rest(spoiled: Path) -> None:
    frame = to_frame(load_table(spoiled))
    assert sorted(frame["system"]) == ["Good", "double", "good", "good"]


def test_of_two_records_none_is_chosen_where_none_is_in_its_place(tmp_path: Path, make_record: Any) -> None:
    path = make_record().save(tmp_path)
    shutil.copy(path, path.with_name("a.json"))
    path.rename(path.with_name("b.json"))
    found = collect(tmp_path)
    assert found.records == ()
    assert "uses none of them" in found.problems[0]


def test_strict_fails_with_all_of_them_and_writes_nothing(spoiled: Path, tmp_path: Path) -> None:
    arguments = ["leaderboard", "--results", str(spoiled), "--out", str(tmp_path / "out")]
    strict = CliRunner().invoke(app, [*arguments, "--strict"])
    assert isinstance(strict.exception, RecordError)
    assert all(text in str(strict.exception) for text in FAULTS.values())
    assert not (tmp_path / "out").exists()
    lenient = CliRunner().invoke(app, arguments)
    assert lenient.exit_code == 0
    assert all(text in lenient.stderr for text in FAULTS.values())
    assert (tmp_path / "out" / "table.csv").is_file()


def test_a_prediction_that_is_nan_is_refused(tmp_path: Path, make_record: Any) -> None:
    with pytest.raises(RecordError, match="a prediction cannot be stored"):
        make_record().save(tmp_path, predictions=[{"score": float("nan")}])
