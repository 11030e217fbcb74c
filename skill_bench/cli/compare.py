"""``skill-bench compare``: is one system better than another, and how sure is that?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from skill_bench.cli.paths import file_to_write, there

_NAME = "[ORIGIN:]NAME[@HASH]: a system of the table; run: or shipped: and the hash where a name fits several."


def compare(
    a: Annotated[str, typer.Argument(help=_NAME)],
    b: Annotated[str, typer.Argument(help="The system that is judged beside it.")],
    results: Annotated[
        Path | None,
        typer.Option(
            help="Folder or archive of records, results by default; the bundled ones are always read.", callback=there
        ),
    ] = None,
    suite: Annotated[str | None, typer.Option(help="Only this suite.")] = None,
    level: Annotated[float, typer.Option(min=0.0001, max=0.5, help="Error level, corrected over tasks.")] = 0.05,
    csv: Annotated[
        Path | None, typer.Option(help="Also write the numbers to this file.", callback=file_to_write)
    ] = None,
) -> None:
    """Test whether one system is better than another, task by task on the same test items."""
    from skill_bench.base.documents import write_atomic
    from skill_bench.report.comparison.compare import compare_systems
    from skill_bench.report.comparison.text import to_csv, to_text
    from skill_bench.report.table.load import load_table

    if results is None and (written := Path("results")).is_dir():  # where `run` writes
        results = written
    table = load_table(results, suite=suite, published=False, intervals=False)
    found = compare_systems(table, a, b, level=level)
    for one in found:
        typer.echo(to_text(one))
    if csv is not None:
        typer.echo(f"written to {write_atomic(csv, to_csv(found).encode())}")
    for problem in table.problems:
        typer.echo(f"problem: {problem}", err=True)
