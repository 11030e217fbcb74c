"""``skill-bench leaderboard``: table.csv and table.md from records and published rows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def leaderboard(
    results: Annotated[Path | None, typer.Option(help="Folder of records; the bundled ones are always read.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for table.csv and table.md.")] = Path("leaderboard"),
    suite: Annotated[str | None, typer.Option(help="Only this suite.")] = None,
    published: Annotated[bool, typer.Option(help="Also the published systems, in a block of their own.")] = True,
    strict: Annotated[bool, typer.Option(help="Fail if a file had to be left out.")] = False,
) -> None:
    """Make the tables from result records."""
    from skill_bench.errors import RecordError
    from skill_bench.report.render import write_tables
    from skill_bench.report.show import load_table

    table = load_table(results, suite=suite, published=published)
    for path in write_tables(table, out):
        typer.echo(path)
    typer.echo(f"{len(table.frame)} rows in {len(table.blocks())} blocks: {'; '.join(table.blocks())}")
    if table.problems:
        listed = "\n".join(f"  {problem}" for problem in table.problems)
        if strict:
            raise RecordError(f"{len(table.problems)} files were left out:\n{listed}")
        typer.echo(f"left out:\n{listed}", err=True)
