"""Every record that travels with the package can be trusted, and lies where its key says."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from skill_bench.base import catalog
from skill_bench.evaluation.cell_record import stated
from skill_bench.evaluation.task_files import load_task
from skill_bench.records.store import contents, pack
from skill_bench.report.render.frame import to_frame
from skill_bench.report.table.blocks import variant
from skill_bench.report.table.build import build
from skill_bench.report.table.collect import collect
from skill_bench.report.table.load import FOLDERS

RESULTS = catalog.folder("leaderboard") / "results"


@pytest.mark.parametrize("folder", FOLDERS)
def test_shipped_records_are_whole_and_finished(folder: str) -> None:
    found = collect(catalog.folder("leaderboard") / folder, origin="shipped")
    assert found.problems == ()
    assert [record.key for record in found.records if record.status != "finished"] == []
    rows = to_frame(build([found], by_training=True))
    assert len(rows) >= len({(r.key.suite, r.key.upstream) for r in found.records}) > 5


@pytest.mark.parametrize("folder", FOLDERS)
def test_shipped_records_lie_where_their_keys_say(folder: str) -> None:
    found = contents(catalog.folder("leaderboard") / folder)
    assert {name: record.path(Path()).as_posix() for name, record in found.records.items()} == {
        name: name for name in found.records
    }


@pytest.mark.parametrize(("folder", "suites"), [("results", ["demo"]), ("deployed", ["local"])])
def test_shipped_records_are_one_archive_a_suite_packed_as_the_command_packs_them(
    folder: str, suites: list[str], tmp_path: Path
) -> None:
    place = catalog.folder("leaderboard") / folder
    archives = sorted(place.glob("*.zip"))
    assert [path.name for path in place.iterdir() if path.is_dir()] == []
    for archive in archives:
        assert {record.key.suite for record in collect(archive).records} == {archive.stem}
        pack(archive, tmp_path / archive.name)
        # The zlib of another machine may compress otherwise; names, order, times and contents are the same.
        with zipfile.ZipFile(archive) as shipped, zipfile.ZipFile(tmp_path / archive.name) as again:
            assert shipped.namelist() == again.namelist()
            for one, other in zip(shipped.infolist(), again.infolist(), strict=True):
                assert (one.date_time, one.CRC, one.external_attr) == (other.date_time, other.CRC, other.external_attr)
    assert [archive.stem for archive in archives] == suites


def test_shipped_records_have_the_settings_that_a_run_has_today() -> None:
    """Else a user's rows would stand in a table of their own, away from the bundled systems."""
    records = [record for record in collect(RESULTS, origin="shipped").records if record.data is not None]
    assert records
    for record in records:
        task = load_task(record.key.task)
        today = task.for_suite(record.key.suite, protocol=record.key.protocol).recorded()
        assert stated(record.task_spec) == stated(today), "a run would not find the cell finished"
        assert variant(record.model_copy(update={"task_spec": today})) == variant(record), record.key
        assert record.key.task_version == task.version
