"""``skill-bench results``: a folder of records as one file, and back."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from skill_bench.base.counted import counted
from skill_bench.cli.help_groups import commands
from skill_bench.cli.paths import file_to_write, folder_to_write, there

if TYPE_CHECKING:
    from skill_bench.records.store import Contents

app = commands("Pack a folder of records into one file, unpack it, or list what is in it.")


@app.command("pack")
def pack_records(
    folder: Annotated[
        Path, typer.Argument(help="Folder of records; archives that lie in it are packed with it.", callback=there)
    ],
    out: Annotated[
        Path,
        typer.Option(
            help="FILE.zip, which every command reads where it reads a folder of records.", callback=file_to_write
        ),
    ],
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it is there.")] = False,
) -> None:
    """Pack records, their predictions and the profiles into one archive; the same records give the same bytes."""
    from skill_bench.records.store import pack

    found = pack(folder, out, force=force)
    typer.echo(f"{out}: {_counted(found)}, {out.stat().st_size / 1e6:.1f} MB")
    _say_left_out(found)


@app.command("unpack")
def unpack_records(
    archive: Annotated[Path, typer.Argument(help="FILE.zip, as `results pack` makes it.", callback=there)],
    out: Annotated[Path, typer.Option(help="Folder for the records.", callback=folder_to_write)],
) -> None:
    """Write the files of an archive as a folder of records."""
    from skill_bench.records.store import unpack

    found = unpack(archive, out)
    typer.echo(f"{out}: {_counted(found)}")
    _say_left_out(found)


@app.command("list")
def list_records(
    place: Annotated[Path, typer.Argument(help="Folder or archive of records.", callback=there)],
) -> None:
    """List each system with its records, finished and failed, by task; every file is checked against its digest."""
    from skill_bench.records.store import contents

    found = contents(place)
    by_system: dict[tuple[str, str, str], Counter[str]] = {}
    for record in found.records.values():
        key = record.key
        task = key.task if record.status == "finished" else f"{key.task} (failed)"
        by_system.setdefault((key.suite, key.protocol, key.upstream), Counter())[task] += 1
    for system, tasks in sorted(by_system.items()):
        by_task = ", ".join(f"{task} x {n}" if n > 1 else task for task, n in sorted(tasks.items()))
        typer.echo(f"{'  '.join(system)}  {counted(tasks.total(), 'record')}: {by_task}")
    typer.echo(f"{place}: {_counted(found)}")
    _say_left_out(found)


def _counted(found: Contents) -> str:
    return f"{counted(len(found.records), 'record')} in {counted(len(found.files), 'file')}"


def _say_left_out(found: Contents) -> None:
    if found.left_out:
        n_files = counted(
            len(found.left_out), "file that belongs to no record is", "files that belong to no record are"
        )
        typer.echo(f"{n_files} left out, the first is {found.left_out[0]}", err=True)
