"""Folders of records packed into archives: what goes in, what is refused, and that every reader takes either."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import made_records
import pytest
from pydantic import JsonValue
from typer.testing import CliRunner

from skill_bench.base.errors import RecordError, UsageError
from skill_bench.cli.main import app
from skill_bench.records.profile import Profile, find_profile
from skill_bench.records.record import Predictions, Record, find_finished, read_predictions
from skill_bench.records.store import contents, pack, record_files, unpack
from skill_bench.report.render.frame import to_frame
from skill_bench.report.table.build import build
from skill_bench.report.table.collect import collect
from skill_bench.report.table.verify import verify

MakeRecord = Callable[..., Record]
MakeProfile = Callable[..., Profile]


def rows(n_right: int) -> list[dict[str, JsonValue]]:
    return [
        {"id": str(i), "fold": "all", "target": "a", "prediction": "a" if i < n_right else "b",
         "numerator": int(i < n_right), "denominator": 1}
        for i in range(100)
    ]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, make_record: MakeRecord, make_profile: MakeProfile) -> Path:
    place = tmp_path / "records"
    for name, n_right in (("good", 80), ("bad", 60)):
        make_record(name, numerator=n_right).save(place, predictions=rows(n_right))
        make_profile(name).write(make_profile(name).path(place, "demo"))
    return place


def tree(place: Path) -> dict[str, bytes]:
    return {p.relative_to(place).as_posix(): p.read_bytes() for p in sorted(place.rglob("*")) if p.is_file()}


def test_unpacked_is_what_was_packed(folder: Path, tmp_path: Path) -> None:
    found = pack(folder, tmp_path / "a.zip")
    assert sorted(found.records) == ["demo/bad/ks-s0.json", "demo/good/ks-s0.json"]
    assert len(found.files) == 6
    assert found.left_out == ()
    unpack(tmp_path / "a.zip", tmp_path / "again")
    assert tree(tmp_path / "again") == tree(folder)
    first = (tmp_path / "a.zip").read_bytes()
    pack(tmp_path / "again", tmp_path / "b.zip")
    assert (tmp_path / "b.zip").read_bytes() == first


def test_the_table_is_the_same_from_folder_and_archive(folder: Path, tmp_path: Path) -> None:
    pack(folder, tmp_path / "a.zip")
    tables = [build([collect(place)]) for place in (folder, tmp_path / "a.zip")]
    assert len(to_frame(tables[0])) == 2
    assert to_frame(tables[0]).equals(to_frame(tables[1]))
    verified = [verify(table) for table in tables]
    assert (verified[1].n_records, verified[1].mismatches, verified[1].unverified) == (2, [], [])
    assert verified[0].n_numbers == verified[1].n_numbers > 400


def test_what_belongs_to_no_record_is_left_out_and_named(folder: Path, tmp_path: Path, make_record: MakeRecord) -> None:
    make_record("good", fingerprint="e" * 64).save(folder, predictions=rows(80))  # the earlier one is moved aside
    (folder / "notes.txt").write_text("mine")
    (folder / "demo" / "options.json").write_text('{"mine": 1}')
    (folder / "demo" / "good" / "er-s0.predictions.jsonl").write_text("")
    found = pack(folder, tmp_path / "a.zip")
    assert len(found.files) == 6
    assert [name.split("/")[-1] for name in found.left_out if "replaced" not in name] == [
        "er-s0.predictions.jsonl",
        "options.json",
        "notes.txt",
    ]
    assert sum("replaced" in name for name in found.left_out) == 2
    assert set(tree(folder)) == set(found.files) | set(found.left_out)


def test_new_records_join_an_archive_in_their_folder(folder: Path, make_record: MakeRecord) -> None:
    place = folder / "demo.zip"
    pack(folder, place)
    shutil.rmtree(folder / "demo")
    newer = make_record("bad", numerator=70, fingerprint="e" * 64)
    newer.save(folder, predictions=rows(70))
    make_record("third", numerator=90).save(folder, predictions=rows(90))
    found = collect(folder)
    assert found.problems == ()
    assert {r.key.upstream: r.metrics["accuracy"].value for r in found.records} == {"good": 80, "bad": 70, "third": 90}
    with pytest.raises(UsageError, match=r"--out .*demo\.zip: is there already\. Name another file, or .* --force"):
        pack(folder, place)
    assert pack(folder, place, force=True).left_out == ()
    shutil.rmtree(folder / "demo")
    again = collect(folder)
    assert [entry.record for entry in again.entries] == [entry.record for entry in found.entries]
    assert all(len(read_predictions(e.file, e.record)) == 100 for e in again.entries if e.file is not None)


def test_what_is_in_an_archive_counts_as_finished(
    folder: Path, make_record: MakeRecord, make_profile: MakeProfile
) -> None:
    record = make_record("good")
    pack(folder, folder / "demo.zip")
    shutil.rmtree(folder / "demo")
    assert find_finished(folder, record.key, identity="good", fingerprint="f" * 64, task_spec={}) == record.model_copy(
        update={"predictions": collect(folder).records[1].predictions}
    )
    assert find_finished(folder, record.key, identity="other", fingerprint="f" * 64, task_spec={}) is None
    assert find_finished(folder, record.key, identity="good", fingerprint="e" * 64, task_spec={}) is None
    assert find_profile(folder, "demo", make_profile("good").system) == make_profile("good")
    assert find_profile(folder, "demo", make_profile("good", identity="other").system) is None
    assert find_profile(folder, "local", make_profile("good").system) is None


def test_damage_is_named_and_nothing_is_written(folder: Path, tmp_path: Path) -> None:
    edited = folder / "demo" / "good" / "ks-s0.json"
    edited.write_text(edited.read_text().replace('"seed": 0', '"seed": 1'))
    (folder / "demo" / "bad" / "ks-s0.predictions.jsonl").write_text("{}")
    profile = folder / "demo" / "bad" / "profile.json"
    profile.write_text(profile.read_text().replace("1500", "1501").replace("2500000", "2500001"))
    with pytest.raises(RecordError) as error:
        pack(folder, tmp_path / "a.zip")
    text = str(error.value)
    assert "3 files are damaged" in text
    assert "good/ks-s0.json: its contents do not fit its content_sha256" in text
    assert "ks-s0.predictions.jsonl: is not the file that ks-s0.json was written with" in text
    assert "bad/profile.json: its contents do not fit" in text
    assert not (tmp_path / "a.zip").exists()


def test_what_is_no_folder_of_records_is_refused(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"empty: holds no record, expected <suite>/<upstream>/<task>-s<seed>\.json"):
        pack(tmp_path / "empty", tmp_path / "a.zip")
    with pytest.raises(UsageError, match=r"gone: no such folder or archive \(\.zip\) of records"):
        pack(tmp_path / "gone", tmp_path / "a.zip")
    with pytest.raises(UsageError, match=r"a\.tar: expected a name ending in \.zip"):
        pack(folder, tmp_path / "a.tar")
    with pytest.raises(UsageError, match=r"expected an archive \(\.zip\)"):
        unpack(folder, tmp_path / "b")
    with pytest.raises(UsageError, match=r"no such folder or archive \(\.zip\) of records"):
        collect(tmp_path / "gone.zip")
    with pytest.raises(UsageError, match=r"no record in .*empty"):
        record_files([tmp_path / "empty"])


def test_unpacking_replaces_nothing(folder: Path, tmp_path: Path) -> None:
    pack(folder, tmp_path / "a.zip")
    before = tree(folder)
    unpack(tmp_path / "a.zip", folder)
    assert tree(folder) == before
    other = folder / "demo" / "good" / "profile.json"
    other.write_text("{}")
    (folder / "demo" / "bad" / "profile.json").unlink()
    with pytest.raises(UsageError, match=r"other files are there in the place of demo/good/profile\.json\. Name"):
        unpack(tmp_path / "a.zip", folder)
    assert not (folder / "demo" / "bad" / "profile.json").exists(), "all or nothing"


def test_a_record_names_a_file_beside_itself_only() -> None:
    with pytest.raises(ValueError, match="should match pattern"):
        Predictions(file="../../secret", n=1, sha256="x")


def test_damage_in_an_archive_is_a_problem_of_that_record(folder: Path, tmp_path: Path) -> None:
    """The others are read, as from a folder."""
    place = tmp_path / "a.zip"
    pack(folder, place)
    data = bytearray(place.read_bytes())
    data[data.index(b"demo/good/ks-s0.json") + 60] ^= 255
    place.write_bytes(data)
    found = collect(place)
    assert [record.key.upstream for record in found.records] == ["bad"]
    assert len(found.problems) == 1
    assert "a.zip: demo/good/ks-s0.json cannot be read" in found.problems[0]
    with pytest.raises(RecordError, match="1 file is damaged"):
        contents(place)


def test_what_students_keep_is_packed_without_any_task(tmp_path: Path) -> None:
    document = made_records.fidelity("skill-s0", 0.5, "words")
    document.write(document.path(tmp_path / "records"))
    assert pack(tmp_path / "records", tmp_path / "a.zip").records == {}
    unpack(tmp_path / "a.zip", tmp_path / "b")
    assert tree(tmp_path / "b") == tree(tmp_path / "records")


def test_commands(folder: Path, tmp_path: Path) -> None:
    run, place = CliRunner(), tmp_path / "a.zip"
    (folder / "notes.txt").touch()
    made = run.invoke(app, ["results", "pack", str(folder), "--out", str(place)])
    assert made.exit_code == 0, made.output
    assert f"{place}: 2 records in 6 files, 0.0 MB" in made.output
    assert "1 file that belongs to no record is left out, the first is notes.txt" in made.output
    assert isinstance(run.invoke(app, ["results", "pack", str(folder), "--out", str(place)]).exception, UsageError)
    assert run.invoke(app, ["results", "pack", str(folder), "--out", str(place), "--force"]).exit_code == 0
    listed = run.invoke(app, ["results", "list", str(place)]).output.splitlines()
    assert listed == [
        "demo  strict  bad  1 record: ks",
        "demo  strict  good  1 record: ks",
        f"{place}: 2 records in 6 files",
    ]
    assert run.invoke(app, ["results", "unpack", str(place), "--out", str(tmp_path / "b")]).exit_code == 0
    (folder / "notes.txt").unlink()
    assert tree(tmp_path / "b") == tree(folder)
    shown = run.invoke(app, ["show", str(place / "demo" / "good" / "ks-s0.json")])
    assert shown.output.startswith("Good (good) on ks")
    assert run.invoke(app, ["show", str(place)]).output.count("on ks, suite demo") == 2
    csv = tmp_path / "compared.csv"
    compared = run.invoke(app, ["compare", "run:good", "run:bad", "--results", str(place), "--csv", str(csv)])
    assert compared.exit_code == 0, compared.output
    out = ["--out", str(tmp_path / "site"), "--no-published"]
    assert run.invoke(app, ["leaderboard", "--results", str(place), "--verify", *out]).exit_code == 0
