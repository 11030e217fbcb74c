"""The table of a run, beside the records that come with the package, on the console."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from skill_bench.base.escape import one_line
from skill_bench.report.render.terminal import print_section
from skill_bench.report.table.build import build
from skill_bench.report.table.load import RUN, load_collections
from skill_bench.report.table.uncertainty import with_intervals


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
    collections = load_collections(out_dir, suite=suite)
    table = build([found.where(lambda record: tasks is None or record.key.task in tasks) for found in collections])
    own = [section for section in table.sections if any(row.origin == RUN for row in section.rows)]
    others = [section.label for section in table.sections if section not in own]
    table = with_intervals(replace(table, sections=tuple(own)))
    for section in table.sections:
        print_section(section, console, columns=columns)
    if others:
        console.print(
            f"Not shown, other data or settings: {'; '.join(others)}. See skill-bench leaderboard.",
            markup=False,
            highlight=False,
        )
    for problem in table.problems:
        console.print(f"problem: {one_line(problem)}", style="yellow", markup=False, highlight=False)
