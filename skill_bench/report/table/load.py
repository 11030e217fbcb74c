"""The whole leaderboard: the records of a run, those that come with the package, and the published rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from skill_bench.base import catalog
from skill_bench.base.catalog import suites
from skill_bench.base.errors import UnknownName
from skill_bench.report.table.build import build
from skill_bench.report.table.collect import Collection, collect
from skill_bench.report.table.published import published_rows
from skill_bench.report.table.table import Table
from skill_bench.report.table.uncertainty import with_intervals

RUN, SHIPPED = "run", "shipped"
FOLDERS = ("results", "evidence")
"""Below ``leaderboard``: records of bundled models on the demo, and those behind docs/evidence.md."""


def load_table(
    out_dir: Path | None = None,
    *,
    suite: str | None = None,
    tasks: Sequence[str] | None = None,
    published: bool = True,
    intervals: bool = True,
) -> Table:
    """The records below ``out_dir`` (none if it is None), the shipped ones, and the published rows.

    Args:
        out_dir: output folder of `skill-bench run`.
        suite: keeps the records of that suite only.
        tasks: keeps the records of these only; means are then over them. Published rows stay whole.
        published: False leaves out the published rows.
        intervals: False leaves them out, which saves reading the predictions.

    Raises:
        UsageError: ``out_dir`` does not exist, or holds no record where records lie.
        UnknownName: no suite of that name is known, and no record is of it.
    """
    rows, problems = published_rows(catalog.folder("leaderboard") / "published") if published else ([], ())
    collections = load_collections(out_dir, suite=suite, tasks=tasks)
    if suite is not None and suite not in suites() and not any(found.entries for found in collections):
        raise UnknownName("suite", suite, {*suites(), *_suites_in(out_dir)})
    all_of_it = out_dir is not None and suite is None and tasks is None
    if all_of_it and not (collections[0].entries or collections[0].problems):
        problems = (*problems, f"{out_dir}: holds no record. Name the --out of a run.")
    table = build(collections, rows, problems=problems)
    return with_intervals(table) if intervals else table


def results_here(results: Path | None) -> Path | None:
    """``results``; where none are named, the folder that `run` and `evaluate` write unasked, if it is there."""
    written = Path("results")
    return written if results is None and written.is_dir() else results


def _suites_in(out_dir: Path | None) -> set[str]:
    return {record.key.suite for found in load_collections(out_dir) for record in found.records}


@dataclass(frozen=True, kw_only=True)
class RunTable:
    """The sections in which a run has a record, with intervals; ``others`` are the labels of those left out."""

    table: Table
    others: tuple[str, ...]


def of_run(collections: Sequence[Collection]) -> RunTable:
    """A run's rows beside the shipped ones on the same data; all sections where no record is of a run."""
    table = build(collections)
    own = [section for section in table.sections if any(row.origin == RUN for row in section.rows)] or table.sections
    return RunTable(
        table=with_intervals(replace(table, sections=tuple(own))),
        others=tuple(section.label for section in table.sections if section not in own),
    )


def load_collections(
    out_dir: Path | None = None, *, suite: str | None = None, tasks: Sequence[str] | None = None
) -> list[Collection]:
    """The records below ``out_dir`` (none if it is None) and the shipped ones.

    Args:
        out_dir: output folder of `skill-bench run`.
        suite: only this one.
        tasks: only these; None for all.

    Raises:
        UsageError: ``out_dir`` does not exist.
    """
    collections = [] if out_dir is None else [collect(out_dir, origin=RUN)]
    for shipped in (catalog.folder("leaderboard") / name for name in FOLDERS):
        if shipped.is_dir() and (out_dir is None or out_dir.resolve() != shipped.resolve()):
            collections.append(collect(shipped, origin=SHIPPED, suite=suite))
    return [
        found.where(lambda record: suite in (None, record.key.suite) and (tasks is None or record.key.task in tasks))
        for found in collections
    ]
