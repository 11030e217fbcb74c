"""The table of a run, beside the records that come with the package, on the console."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from skill_bench.base.escape import one_line
from skill_bench.report.render.terminal import print_section
from skill_bench.report.table.load import load_collections, of_run


def show(
    out_dir: Path,
    *,
    suite: str,
    tasks: Sequence[str] | None = None,
    columns: Sequence[str] = (),
    console: Console | None = None,
) -> None:
    """Prints every section of ``suite`` in which the run has a record, beside the shipped records on the same data.

    Args:
        tasks: only these; the mean is then over them.
        columns: as `skill_bench.report.render.terminal.print_section` takes them.
    """
    console = console or Console()
    if not out_dir.is_dir():
        console.print(f"{out_dir} holds no record.", markup=False, highlight=False)
        return
    found = of_run(load_collections(out_dir, suite=suite, tasks=tasks))
    for section in found.table.sections:
        print_section(section, console, columns=columns)
    if found.others:
        console.print(
            f"Not shown, other data or settings: {'; '.join(found.others)}. See skill-bench leaderboard.",
            markup=False,
            highlight=False,
        )
    for problem in found.table.problems:
        console.print(f"problem: {one_line(problem)}", style="yellow", markup=False, highlight=False)
