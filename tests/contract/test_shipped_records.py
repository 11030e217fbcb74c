"""Every record that travels with the package can be trusted, and lies where its key says."""

from __future__ import annotations

from skill_bench import catalog
from skill_bench.record import Record
from skill_bench.report.build import build
from skill_bench.report.collect import collect

RESULTS = catalog.folder("leaderboard") / "results"


def test_shipped_records_are_whole_and_finished() -> None:
    found = collect(RESULTS, origin="shipped")
    assert found.problems == ()
    assert [record.key for record in found.records if record.status != "finished"] == []
    assert len(build([found]).frame) >= len({(r.key.suite, r.key.upstream) for r in found.records})


def test_shipped_records_lie_where_their_keys_say() -> None:
    for path in RESULTS.glob("*/*/*.json"):
        if path.name != "profile.json":
            assert Record.read(path).path(RESULTS) == path
