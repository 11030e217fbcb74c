"""``skill-bench leaderboard``: tables, the page and figures from records and published rows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from skill_bench.cli.paths import folder_to_write, there

if TYPE_CHECKING:
    from skill_bench.report.table.table import Table


def leaderboard(
    results: Annotated[
        Path | None,
        typer.Option(help="Folder or archive of records; the bundled ones are always read.", callback=there),
    ] = None,
    out: Annotated[
        Path, typer.Option(help="Folder for table.csv, table.md, table.tex and index.html.", callback=folder_to_write)
    ] = Path("leaderboard"),
    suite: Annotated[str | None, typer.Option(help="Only this suite.")] = None,
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

    table = with_problems(load_table(results, suite=suite, published=published))
    listed = "\n".join(f"  {problem}" for problem in table.problems)
    if strict and table.problems:
        raise RecordError(f"{len(table.problems)} problems, no table was written:\n{listed}")
    if verify:
        _verify(table, strict=strict)
    written = [*write_tables(table, out), write_page(table, out)]
    if figures:
        from skill_bench.report.render.figures import write_figures

        written += write_figures(table, out / "figures")
    for path in written:
        typer.echo(path)
    labels = [section.label for section in table.sections]
    typer.echo(
        f"{sum(len(section.rows) for section in table.sections)} rows in {len(labels)} sections: {'; '.join(labels)}"
    )
    if table.problems:
        typer.echo(f"{len(table.problems)} problems:\n{listed}", err=True)


def _verify(table: Table, *, strict: bool) -> None:
    """Says how much was found again; fails with the list of what was not."""
    from skill_bench.base.errors import RecordError
    from skill_bench.report.table.verify import verify

    found = verify(table)
    wrong = [*found.mismatches, *(found.unverified if strict else ())]
    if wrong:
        listed = "\n".join(f"  {one}" for one in wrong)
        raise RecordError(f"{len(wrong)} numbers cannot be confirmed, no table was written:\n{listed}")
    typer.echo(
        f"verified: {found.n_numbers} numbers of {found.n_records} records computed again from predictions, all match"
    )
    for one in found.unverified:
        typer.echo(f"not verified: {one}", err=True)
