"""``skill-bench status``: how far the jobs of a run are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from skill_bench.base.first_few import first_few
from skill_bench.cli.paths import folder_if_there

if TYPE_CHECKING:
    from skill_bench.launch.status import CellState, Status

STATES: tuple[CellState, ...] = ("done", "running", "waiting", "failed", "lost")


def status(
    out: Annotated[Path, typer.Option(help="--out of the run.", callback=folder_if_there)] = Path("results"),
) -> None:
    """Say how far the jobs of `run --launcher` or `evidence run --launcher` are, and what failed."""
    from functools import partial

    from skill_bench.launch.launch import ENGINES
    from skill_bench.launch.options import LaunchOptions
    from skill_bench.launch.status import status as found_in

    engines = {name: partial(engine, LaunchOptions(launcher=name)) for name, engine in ENGINES.items()}
    for found in found_in(out, engines=engines):
        for line in lines(found):
            typer.echo(line)


def lines(found: Status) -> list[str]:
    """A launch as text: counts, jobs, and what went wrong."""
    counts = ", ".join(f"{n} {state}" for state in STATES if (n := found.count(state)))
    jobs = first_few(f"{job} {state}" for job, state in found.jobs.items()) or "all ended"
    left = "unknown" if found.hours_left is None else f"{found.hours_left:.2f}"
    shown = [
        f"{found.launched.started_at} {found.launched.launcher}, {found.folder}",
        f"  cells       {len(found.cells)}: {counts or 'none'}",
        f"  jobs        {len(found.launched.jobs)}: {jobs}",
        f"  hours left  {left}",
    ]
    running = [name for name, state in found.cells.items() if state == "running"]
    if running:
        shown.append(f"  now         {'; '.join(running)}")
    if found.count("lost"):
        shown.append("  Cells are lost with their jobs. The command of the run continues with them.")
    return [*shown, *(f"  {line}" for problem in found.problems for line in problem.splitlines())]
