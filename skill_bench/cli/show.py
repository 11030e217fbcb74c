"""``skill-bench show``: records in words, with the weights of the layers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from skill_bench.base.counted import counted
from skill_bench.cli.paths import there


def show(
    records: Annotated[list[Path], typer.Argument(help="Record files, folders or archives.", callback=there)],
) -> None:
    """Show records in words: metrics, the curve on dev, weights of the hidden states, notes.

    A record in an archive is named as though that were a folder: results.zip/demo/skill/ks-s0.json.
    """
    from skill_bench.base.archive import is_there
    from skill_bench.base.errors import RecordError
    from skill_bench.records.record import Record, read_predictions
    from skill_bench.records.store import record_files
    from skill_bench.report.render.describe import describe

    shown, problems = [], []
    files = record_files(records)
    for file in files:
        try:
            record = Record.read(file)
            shown.append("\n".join(describe(record)))
            if record.predictions is not None and is_there(file.with_name(record.predictions.file)):
                read_predictions(file, record)
        except RecordError as error:
            problems.append(str(error))
    if shown:
        typer.echo("\n\n".join(shown))
    if problems:
        listed = "\n".join(f"  {problem}" for problem in problems)
        of = f"of {len(files)} records"
        raise RecordError(f"{counted(len(problems), f'{of} is damaged', f'{of} are damaged')}:\n{listed}")
