"""``skill-bench evidence``: a grid of students, made and compared."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from skill_bench.base.counted import counted
from skill_bench.base.places import cache_folder
from skill_bench.cli.options import CacheDir, DataPaths, Device, Teacher, commands, interruptible
from skill_bench.cli.paths import file_to_write, folder_to_write, there
from skill_bench.cli.run_options import launchable
from skill_bench.launch.options import LaunchOptions

app = commands("Distil and evaluate a grid of students of one teacher, and write their comparison.")


@app.command("run")
@launchable
def run_grid(
    grid: Annotated[Path, typer.Argument(help="TOML file; skill_bench/sweep/grid.py shows one.")],
    teacher: Teacher,
    data: DataPaths,
    data_root: Annotated[Path | None, typer.Option(help="Folder of the corpora of suites and fidelity.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for students and records.", callback=folder_to_write)] = Path(
        "evidence"
    ),
    only: Annotated[list[str] | None, typer.Option(help="Only this row of the grid; repeat for several.")] = None,
    cache_dir: CacheDir = None,
    device: Device = "cpu",
    timed: Annotated[
        bool, typer.Option("--timed", help="Measure throughput and cold start too, at the end: let nothing else run.")
    ] = False,
    launch: LaunchOptions | None = None,
) -> None:
    """Distil and evaluate every student of the grid. Interrupt it whenever you like: the same command continues.

    With a launcher, students are evaluated in jobs; they are distilled here, or where torchrun or srun starts it.
    """
    from skill_bench.base.errors import SkillBenchError
    from skill_bench.cli.console import ConsoleProgress
    from skill_bench.sweep.grid import choose, read_grid

    read, jobs = read_grid(grid)
    jobs = choose(jobs, only or [])

    from skill_bench.evaluation.evaluate import evaluate
    from skill_bench.launch.launch import engine_of, in_jobs
    from skill_bench.sweep.drive import Drive

    if launch is not None:
        engine_of(launch, device=device)  # what is wrong with it is said before anything is computed
    kept = f"what is finished is in {out}; the same command continues"
    with ConsoleProgress() as progress, interruptible(progress, kept=kept):
        drive = Drive(
            grid=read,
            jobs=jobs,
            teacher=teacher,
            data=data,
            data_root=data_root,
            out=out,
            cache_dir=cache_folder(cache_dir),
            device=device,
            progress=progress,
            evaluate=evaluate if launch is None else partial(in_jobs, options=launch),
            by_first_alone=launch is not None,
            timed=timed,
        )
        failures = drive.run()
    if failures:
        listed = "\n".join(f"  {failure}" for failure in failures)
        raise SkillBenchError(f"{len(failures)} failed, what is finished is in {out / 'records'}:\n{listed}")
    if launch is not None and launch.detach:
        typer.echo(f"{counted(len(jobs), 'student')}; `skill-bench status --out {out}` says how far the jobs are.")
        return
    typer.echo(f"{counted(len(jobs), 'student')}, records in {out / 'records'}")


@app.command("write")
def write_page(
    records: Annotated[
        list[Path],
        typer.Option(
            "--results",
            help="Folder or archive of records, as `evidence run` leaves it; repeat for several of one grid.",
            callback=there,
        ),
    ],
    out: Annotated[
        Path, typer.Option(help="The page to write; a figure lies beside it.", callback=file_to_write)
    ] = Path("docs/evidence.md"),
    grid: Annotated[
        Path | None, typer.Option(help="The grid: rows of it without records are said to be missing.")
    ] = None,
    title: Annotated[str, typer.Option(help="The page's heading.")] = "Evidence",
    pictures: Annotated[
        bool, typer.Option("--figures/--no-figures", help="Also SVG, PNG and PDF of the teacher's layers.")
    ] = True,
) -> None:
    """Write the comparison from records: fidelity, means, ablation, each suite, layers of the teacher, gaps."""
    from skill_bench.sweep.report import write

    for written in write.write_page(records, out, grid=grid, title=title, pictures=pictures):
        typer.echo(written)
