"""The whole leaderboard: the records of a run, those that come with the package, and the published rows."""

from __future__ import annotations

from pathlib import Path

from skill_bench.base import catalog
from skill_bench.base.errors import UnknownName
from skill_bench.base.suites import SUITES
from skill_bench.report.table.build import build
from skill_bench.report.table.collect import Collection, collect
from skill_bench.report.table.published import published_rows
from skill_bench.report.table.table import Table
from skill_bench.report.table.uncertainty import with_intervals

RUN, SHIPPED = "run", "shipped"
FOLDERS = ("results", "evidence")
"""Below ``leaderboard``: records of bundled models on the demo, and those behind docs/evidence.md."""


def load_table(
    out_dir: Path | None = None, *, suite: str | None = None, published: bool = True, intervals: bool = True
) -> Table:
    """The records below ``out_dir`` (none if it is None), the shipped ones, and the published rows.

    Args:
        out_dir: output folder of `skill-bench run`.
        suite: keeps the records of that suite only.
        published: False leaves out the published rows.
        intervals: False leaves them out, which saves reading the predictions.

    Raises:
        RecordError: ``out_dir`` does not exist.
        UsageError: it holds no record where records lie.
        UnknownName: no suite of that name is known, and no record is of it.
    """
    rows, problems = published_rows(catalog.folder("leaderboard") / "published") if published else ([], ())
    collections = load_collections(out_dir, suite=suite)
    if suite is not None and suite not in SUITES and not any(found.entries for found in collections):
        raise UnknownName("suite", suite, {*SUITES, *_suites_in(out_dir)})
    table = build(collections, rows, problems=problems)
    return with_intervals(table) if intervals else table


def _suites_in(out_dir: Path | None) -> set[str]:
    return {record.key.suite for found in load_collections(out_dir) for record in found.records}


def load_collections(out_dir: Path | None = None, *, suite: str | None = None) -> list[Collection]:
    """The records below ``out_dir`` (none if it is None) and the shipped ones; of one ``suite``, if it is given.

    Raises:
        RecordError: ``out_dir`` does not exist.
    """
    collections = [] if out_dir is None else [collect(out_dir, origin=RUN)]
    for shipped in (catalog.folder("leaderboard") / name for name in FOLDERS):
        if shipped.is_dir() and (out_dir is None or out_dir.resolve() != shipped.resolve()):
            collections.append(collect(shipped, origin=SHIPPED, suite=suite))
    return [found.where(lambda record: suite in (None, record.key.suite)) for found in collections]
