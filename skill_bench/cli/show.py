"""``skill-bench show``: one record in words, with the weights of the layers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def show(records: Annotated[list[Path], typer.Argument(help="Record files.")]) -> None:
    """Show records: metrics, dev curve, weights of the hidden states, notes."""
    from skill_bench.records.record import Record
    from skill_bench.report.render.describe import describe

    typer.echo("\n\n".join("\n".join(describe(Record.read(file))) for file in records))
