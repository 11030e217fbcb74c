"""``skill-bench rescore``: metrics again, from stored predictions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from skill_bench.base.counted import counted
from skill_bench.cli.paths import there


def rescore(
    records: Annotated[list[Path], typer.Argument(help="Record files, folders or archives.", callback=there)],
) -> None:
    """Compute metrics again from the predictions that records keep; stale records become current where they can."""
    from skill_bench.base.errors import RecordError
    from skill_bench.evaluation.rescore import rescore as score_again
    from skill_bench.records.store import record_files

    files = record_files(records)
    refused = []
    for file in files:
        try:
            found = score_again(file)
        except RecordError as error:
            refused.append(str(error))
            continue
        metric, before, after = found.before.metric, found.before, found.after
        value, new = before.metrics[metric].value, after.metrics[after.metric].value
        if found.changed:
            versions = f"version {before.key.task_version} -> {after.key.task_version}"
            typer.echo(f"{file}: {versions}, {metric} {_shown(value)} -> {_shown(new)}")
        else:
            typer.echo(f"{file}: {metric} {_shown(value)}, as recorded")
    if refused:
        listed = "\n".join(f"  {problem}" for problem in refused)
        raise RecordError(f"{len(refused)} of {counted(len(files), 'record')} could not be scored again:\n{listed}")


def _shown(value: float | None) -> str:
    return "absent" if value is None else f"{value:.2f}"
