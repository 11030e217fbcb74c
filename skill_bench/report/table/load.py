"""The table of a run, beside the records that came with the package; and the whole leaderboard."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from skill_bench.base import catalog
from skill_bench.report.render.render import print_section
from skill_bench.report.table.build import build
from skill_bench.report.table.collect import Collection, collect
from skill_bench.report.table.published import published_rows
from skill_bench.report.table.table import Table
from skill_bench.report.table.uncertainty import with_intervals

RUN, SHIPPED = "run", "shipped"


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
    """
    rows, problems = published_rows(catalog.folder("leaderboard") / "published") if published else ([], ())
    table = build(load_collections(out_dir, suite=suite), rows, problems=problems)
    return with_intervals(table) if intervals else table


def load_collections(out_dir: Path | None = None, *, suite: str | None = None) -> list[Collection]:
    """The records below ``out_dir`` (none if it is None) and the shipped ones; of one ``suite``, if it is given.

    Raises:
        RecordError: ``out_dir`` does not exist.
    """
    shipped = catalog.folder("leaderboard") / "results"
    collections = [] if out_dir is None else [collect(out_dir, origin=RUN)]
    if shipped.is_dir() and (out_dir is None or out_dir.resolve() != shipped.resolve()):
        collections.append(collect(shipped, origin=SHIPPED))
    return [found.where(lambda record: suite in (None, record.key.suite)) for found in collections]


def show(out_dir: Path, *, suite: str, tasks: Sequence[str] | None = None, console: Console | None = None) -> None:
    """Prints every section of ``suite`` in which the run has a record, beside the shipped records on the same data.

    Args:
        tasks: only these; the mean is then over them.
    """
    console = console or Console()
    if not out_dir.is_dir():
        console.print(f"{out_dir} holds no record.", markup=False, highlight=False)
        return
    collections = load_collections(out_dir, suite=suite)
    table = build([found.where(lambda record: tasks is None or record.key.task in tasks) for found in collections])
    others = []
    for section in table.sections:
        if any(row.origin == RUN for row in section.rows):
            print_section(section, console)
        else:
            others.append(section.label)
    if others:
        console.print(
            f"Not shown, other data or settings: {'; '.join(others)}. See skill-bench leaderboard.",
            markup=False,
            highlight=False,
        )
    for problem in table.problems:
        console.print(f"problem: {problem}", style="yellow", markup=False, highlight=False)
