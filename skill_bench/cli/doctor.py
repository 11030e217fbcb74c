"""``skill-bench doctor``: are the corpora of a suite complete, and what is missing?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from skill_bench.base.suites import OFFICIAL_SUITES
from skill_bench.cli.options import names_in


def doctor(
    data_root: Annotated[Path, typer.Option(help="Folder of the official corpora.")],
    suite: Annotated[str, typer.Option(help="superb or mini; both need the whole corpora.")] = "superb",
    tasks: Annotated[str | None, typer.Option(help="Comma-separated; all by default.")] = None,
) -> None:
    """Check layout, counts, hours and every file's header; say what to download and where it goes.

    Exit code 0: everything is there. 1: something is not.
    """
    from skill_bench.base.errors import DataError, UnknownName, UsageError
    from skill_bench.corpora.official.catalogue import official_task, official_tasks
    from skill_bench.corpora.official.doctor import examine

    if suite not in OFFICIAL_SUITES:
        raise UnknownName("suite to check", suite, OFFICIAL_SUITES)
    if not data_root.is_dir():
        raise UsageError(f"--data-root {data_root} is not a folder. Make it; what goes into it is said here.")
    wanted = names_in(tasks) or sorted(official_tasks())
    for task in wanted:
        official_task(task)  # an unknown name is found before anything is read
    incomplete = []
    for task in wanted:
        examination = examine(task, data_root)
        typer.echo(examination.text(data_root))
        if examination.problems:
            incomplete.append(task)
    if incomplete:
        raise DataError(f"not complete for {', '.join(incomplete)}; {len(wanted) - len(incomplete)} tasks can run.")
    typer.echo(f"complete for {', '.join(wanted)}.")
