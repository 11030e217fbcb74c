"""``skill-bench show``: records in words, with the weights of the layers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from skill_bench.cli.paths import there


def show(
    records: Annotated[list[Path], typer.Argument(help="Record files, folders or archives.", callback=there)],
) -> None:
    """Show records: metrics, dev curve, weights of the hidden states, notes.

    A record in an archive is named as though that were a folder: results.zip/demo/skill/ks-s0.json.
    """
    from skill_bench.records.record import Record
    from skill_bench.records.store import record_files
    from skill_bench.report.render.describe import describe

    typer.echo("\n\n".join("\n".join(describe(Record.read(file))) for file in record_files(records)))
