"""``skill-bench doctor``: are the corpora of a suite complete, and what is missing?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from skill_bench.base.counted import counted
from skill_bench.base.places import cache_folder
from skill_bench.base.suites import OFFICIAL_SUITES
from skill_bench.cli.options import CacheDir, SuiteFile, names_in

_SUITES = ("local", *OFFICIAL_SUITES)


def doctor(
    data_root: Annotated[Path, typer.Option(help="Folder of the suite's corpora.")],
    suite: Annotated[
        str, typer.Option(help="local for recordings of your own; superb and mini need the whole official corpora.")
    ] = "superb",
    tasks: Annotated[str | None, typer.Option(help="Names of tasks, comma-separated; by default all.")] = None,
    suite_file: SuiteFile = None,
    cache_dir: CacheDir = None,
) -> None:
    """Check layout, counts, hours and every file of a suite; say what is missing and where to get it.

    Exit code 0: everything is there. 1: something is not.
    """
    from skill_bench.base.errors import DataError, UnknownName, UsageError

    if suite not in _SUITES:
        raise UnknownName("suite to check", suite, _SUITES)
    if not data_root.is_dir():
        raise UsageError(f"--data-root {data_root} is not a folder. Make it; what goes into it is said here.")
    official = suite in OFFICIAL_SUITES
    if official and suite_file is not None:
        raise UsageError(f"the {suite} suite reads official layouts. --suite-file is for --suite local.")
    wanted, examine = (
        _official(names_in(tasks), data_root)
        if official
        else _local(names_in(tasks), data_root, suite_file, cache_folder(cache_dir))
    )
    incomplete = []
    for task in wanted:
        text, is_complete = examine(task)
        typer.echo(text)
        if not is_complete:
            incomplete.append(task)
    if incomplete:
        rest = counted(len(wanted) - len(incomplete), "task")
        raise DataError(f"not complete for {', '.join(incomplete)}; {rest} can run.")
    typer.echo(f"complete for {', '.join(wanted)}.")


Examine = Callable[[str], tuple[str, bool]]
"""Gives what is to be said of a task, and whether it is complete."""


def _official(tasks: list[str] | None, data_root: Path) -> tuple[list[str], Examine]:
    from skill_bench.corpora.official.doctor import examine, official_task, official_tasks

    wanted = tasks or sorted(official_tasks())
    for task in wanted:
        official_task(task)  # an unknown name is found before anything is read

    def of(task: str) -> tuple[str, bool]:
        examination = examine(task, data_root)
        return examination.text(data_root), not examination.problems

    return wanted, of


def _local(
    tasks: list[str] | None, data_root: Path, suite_file: Path | None, cache_dir: Path
) -> tuple[list[str], Examine]:
    from skill_bench.base.errors import UnknownName
    from skill_bench.corpora.load import tasks_of, title_of
    from skill_bench.evaluation.examine import examine

    known = tasks_of("local", data_root=data_root, suite_file=suite_file)
    for task in tasks or ():
        if task not in known:
            raise UnknownName("task of the suite", task, known)
    if (title := title_of("local", data_root=data_root, suite_file=suite_file)) is not None:
        typer.echo(f"local: {title}")

    def of(task: str) -> tuple[str, bool]:
        examined = examine(task, data_root=data_root, suite_file=suite_file, cache_dir=cache_dir)
        return examined.text(), examined.problem is None

    return tasks or known, of
