"""The table of a run, beside the records that came with the package; and the whole leaderboard."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rich.console import Console

from skill_bench import catalog
from skill_bench.report.collect import Collection, collect
from skill_bench.report.published import read_published
from skill_bench.report.render import print_block
from skill_bench.report.table import Table, build

RUN, SHIPPED = "run", "shipped"


def load_table(out_dir: Path | None = None, *, suite: str | None = None, published: bool = True) -> Table:
    """The records below ``out_dir`` (none if it is None), the shipped ones, and the published rows.

    Args:
        out_dir: output folder of `skill-bench run`.
        suite: keeps the records of that suite only.
        published: False leaves out the published rows.

    Raises:
        RecordError: ``out_dir`` does not exist, or a published table is faulty.
    """
    rows = read_published(catalog.folder("leaderboard") / "published") if published else []
    return build(load_collections(out_dir, suite=suite), rows)


def load_collections(out_dir: Path | None = None, *, suite: str | None = None) -> list[Collection]:
    """The records below ``out_dir`` (none if it is None) and the shipped ones; of one ``suite``, if it is given.

    Raises:
        RecordError: ``out_dir`` does not exist.
    """
    shipped = catalog.folder("leaderboard") / "results"
    collections = [] if out_dir is None else [collect(out_dir, origin=RUN)]
    if shipped.is_dir():
        collections.append(collect(shipped, origin=SHIPPED))
    return [_only(suite, collection) for collection in collections]


def show(out_dir: Path, *, suite: str, console: Console | None = None) -> None:
    """Prints every block of ``suite`` in which the run has a record, beside the shipped records on the same data."""
    console = console or Console()
    if not out_dir.is_dir():
        console.print(f"{out_dir} holds no record.", markup=False, highlight=False)
        return
    table = load_table(out_dir, suite=suite, published=False)
    others = []
    for label in table.blocks():
        origins = set(table.frame.loc[table.frame["block"] == label, "origin"])
        if RUN in origins:
            print_block(table, label, console)
        else:
            others.append(label)
    if others:
        console.print(
            f"Not shown, other data or settings: {'; '.join(others)}. See skill-bench leaderboard.",
            markup=False,
            highlight=False,
        )
    for problem in table.problems:
        console.print(f"left out: {problem}", style="yellow", markup=False, highlight=False)


def _only(suite: str | None, collection: Collection) -> Collection:
    if suite is None:
        return collection
    return replace(collection, records=tuple(r for r in collection.records if r.key.suite == suite))
