"""``skill-bench run`` and ``status``: evaluate an upstream, and how far the jobs of a run are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from skill_bench.base.counted import counted
from skill_bench.base.errors import first_few
from skill_bench.base.filled import filled
from skill_bench.cli.options import Columns, interruptible, names_in
from skill_bench.cli.paths import folder_if_there
from skill_bench.cli.run_options import Asked, launchable, planned
from skill_bench.launch.options import LaunchOptions

if TYPE_CHECKING:
    from skill_bench.evaluation.plan import Plan
    from skill_bench.launch.status import CellState, Status

STATES: tuple[CellState, ...] = ("done", "running", "waiting", "failed", "lost")


@launchable
@planned
def run(
    asked: Asked,
    profile: Annotated[bool, typer.Option(help="Also measure parameters, MACs, throughput and memory.")] = True,
    columns: Columns = None,
    launch: LaunchOptions | None = None,
) -> None:
    """Evaluate upstreams on the tasks of a suite, and print their rows beside the bundled systems.

    Interrupt it whenever you like: finished cells are kept, and the same command continues.
    """
    from skill_bench.base.errors import SkillBenchError, UsageError
    from skill_bench.cli.console import ConsoleProgress
    from skill_bench.corpora.load import suite_of
    from skill_bench.evaluation.evaluate import evaluate
    from skill_bench.launch.launch import in_jobs
    from skill_bench.report.render.terminal import require_columns, show

    require_columns(shown := names_in(columns) or [])
    plan: Plan = asked(profile="timed" if profile else False)
    out = plan.out_dir
    kept = f"finished cells are in {out}; the same command continues with the others"
    with ConsoleProgress() as progress, interruptible(progress, kept=kept):
        described = suite_of(plan.suite, data_root=plan.data_root, suite_file=plan.suite_file)
        if described is not None and described.title:
            progress.note(f"suite {plan.suite}: {described.title}")
        outcome = evaluate(plan, progress=progress) if launch is None else in_jobs(plan, launch, progress=progress)
    if launch is not None and launch.detach:
        typer.echo(f"`skill-bench status --out {out}` says how far the jobs are.")
        return
    if not outcome.failures or len(outcome.records) > outcome.n_skipped:  # not a table of what was there before
        show(out, suite=plan.suite, tasks=plan.tasks, columns=shown)
    if outcome.failures:
        failed = "\n".join(f"  {f.name}: {f.error}" for f in outcome.failures)
        as_given = not outcome.records and all(failure.is_usage for failure in outcome.failures)
        others = f"; {counted(len(outcome.records), 'other is', 'others are')} in {out}" if outcome.records else ""
        raise (UsageError if as_given else SkillBenchError)(
            f"{counted(len(outcome.failures), 'cell')} failed{others}:\n{failed}"
        )
    typer.echo(f"{counted(len(outcome.records), 'cell')} in {out}, {outcome.n_skipped} of them finished before.")


def status(
    out: Annotated[Path, typer.Option(help="--out of the run.", callback=folder_if_there)] = Path("results"),
) -> None:
    """Say how far the jobs of `run --launcher` or `evidence run --launcher` are, and what failed."""
    from functools import partial

    from skill_bench.launch.launch import ENGINES
    from skill_bench.launch.status import status as found_in

    engines = {name: partial(engine, LaunchOptions(launcher=name)) for name, engine in ENGINES.items()}
    for found in found_in(out, engines=engines):
        for line in lines(found):
            typer.echo(line)


def lines(found: Status) -> list[str]:
    """A launch as text: counts, jobs, and what went wrong, as its logs have it."""
    counts = ", ".join(f"{n} {state}" for state in STATES if (n := found.count(state)))
    jobs = first_few(f"{job} {state}" for job, state in found.jobs.items()) or "all ended"
    left = "unknown" if found.hours_left is None else f"{found.hours_left:.2f}"
    shown = [
        f"{found.launched.started_at} {found.launched.launcher}, {found.folder}",
        f"  cells       {len(found.cells)}: {counts or 'none'}",
        filled(f"  jobs        {len(found.launched.jobs)}: {jobs}", hanging=14),
        f"  hours left  {left}",
    ]
    running = [name for name, state in found.cells.items() if state == "running"]
    if running:
        shown.append(filled(f"  now         {'; '.join(running)}", hanging=14))
    if found.count("lost"):
        shown.append("  Cells are lost with their jobs. The command of the run continues with them.")
    return [*shown, *(f"  {line}" for problem in found.problems for line in problem.splitlines())]
