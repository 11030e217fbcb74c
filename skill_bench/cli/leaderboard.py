"""``skill-bench leaderboard``: tables, the page and figures from records and published rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from skill_bench.base import catalog
from skill_bench.base.counted import counted
from skill_bench.cli.options import names_in
from skill_bench.cli.paths import folder_to_write, there

if TYPE_CHECKING:
    from skill_bench.report.table.table import Table


def leaderboard(
    results: Annotated[
        Path | None,
        typer.Option(help="Folder or archive of records; the bundled ones are always read.", callback=there),
    ] = None,
    out: Annotated[
        Path,
        typer.Option(
            help="Folder for index.html, table.csv, table.md, table.tex and references.bib.", callback=folder_to_write
        ),
    ] = Path("leaderboard"),
    suite: Annotated[str | None, typer.Option(help="Only this suite.")] = None,
    tasks: Annotated[
        str | None,
        typer.Option(help="Names of tasks, comma-separated: means are over these alone, table.tex has no others."),
    ] = None,
    published: Annotated[bool, typer.Option(help="Also the published systems, in a block of their own.")] = True,
    figures: Annotated[bool, typer.Option(help="Also SVG and PNG figures, in OUT/figures.")] = False,
    strict: Annotated[bool, typer.Option(help="Fail, and write nothing, if there is any problem.")] = False,
    verify: Annotated[bool, typer.Option(help="Compute every number again from the stored predictions.")] = False,
) -> None:
    """Make the tables and the page from result records."""
    from skill_bench.base.errors import RecordError
    from skill_bench.report.render.page import write_page
    from skill_bench.report.render.render import write_tables
    from skill_bench.report.render.students import with_problems
    from skill_bench.report.table.load import load_table

    chosen = names_in(tasks)
    for task in chosen or ():
        catalog.entry("tasks", task)  # an unknown one is said
    table = with_problems(load_table(results, suite=suite, tasks=chosen, published=published))
    listed = "\n".join(f"  {problem}" for problem in table.problems)
    if strict and table.problems:
        raise RecordError(f"{counted(len(table.problems), 'problem')}, no table was written:\n{listed}")
    unverified = _verify(table, strict=strict) if verify else ()
    written = [*write_tables(table, out, tasks=chosen), write_page(table, out)]
    if figures:
        from skill_bench.report.render.figures import write_figures

        written += write_figures(table, out / "figures")
    for path in written:
        typer.echo(path)
    labels = [section.label for section in table.sections]
    n_rows = sum(len(section.rows) for section in table.sections)
    typer.echo(f"{counted(n_rows, 'row')} in {counted(len(labels), 'section')}: {'; '.join(labels)}")
    if table.problems:
        typer.echo(f"{counted(len(table.problems), 'problem')}:\n{listed}", err=True)
    for one in unverified:
        typer.echo(f"not verified: {one}", err=True)


def _verify(table: Table, *, strict: bool) -> Sequence[str]:
    """Says how much was found again, returns what could not be; fails with the list of what was not."""
    from skill_bench.base.errors import RecordError
    from skill_bench.report.table.verify import verify

    found = verify(table)
    wrong = [*found.mismatches, *(found.unverified if strict else ())]
    if wrong:
        listed = "\n".join(f"  {one}" for one in wrong)
        raise RecordError(f"{counted(len(wrong), 'number')} cannot be confirmed, no table was written:\n{listed}")
    typer.echo(
        f"verified: {counted(found.n_numbers, 'number')} of {counted(found.n_records, 'record')} computed again from "
        "predictions, all match"
    )
    return found.unverified
