"""Bad input: everything that is wrong is named in one list, and the table is made from the rest."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from skill_bench.base import catalog
from skill_bench.base.errors import RecordError
from skill_bench.cli.main import app
from skill_bench.report.render.frame import to_frame
from skill_bench.report.table.collect import collect
from skill_bench.report.table.load import load_table

PUBLISHED = "system,ks_accuracy_percent,source\nGood,90,a paper\nNo source,91,\nTwin,1,paper\nTwin,2,paper\n"


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
