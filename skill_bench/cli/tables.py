"""``skill-bench leaderboard``, ``compare``, ``show``, ``rescore`` and ``results``: what is made of records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from skill_bench.base import catalog
from skill_bench.base.counted import counted
from skill_bench.base.filled import filled
from skill_bench.cli.options import commands, names_in
from skill_bench.cli.paths import file_to_write, folder_to_write, there

if TYPE_CHECKING:
    from skill_bench.records.store import Contents
    from skill_bench.report.table.table import Table

_NAME = "[ORIGIN:]NAME[@HASH]: a system of the table; run: or shipped: and the hash where a name fits several."
archives = commands("Pack a folder of records into one file, unpack it, or list what is in it.")


def leaderboard(
    results: Annotated[
        Path | None,
        typer.Option(help="Folder or archive of records; the bundled ones are always read.", callback=there),
    ] = None,
    out: Annotated[
        Path,
        typer.Option(
            help="Folder for index.html, table.csv, table.md, table.tex and references.bib.", callback=folder_to_write
        ),
    ] = Path("site"),
    suite: Annotated[str | None, typer.Option(help="Only this suite.")] = None,
    tasks: Annotated[
        str | None,
        typer.Option(help="Names of tasks, comma-separated: means are over these alone, table.tex has no others."),
    ] = None,
    published: Annotated[bool, typer.Option(help="Also the published systems, in a block of their own.")] = True,
    figures: Annotated[
        bool, typer.Option(help="Also SVG, PNG and PDF figures, 3.25 or 6.6 inches wide, in OUT/figures.")
    ] = False,
    strict: Annotated[bool, typer.Option(help="Fail, and write nothing, if there is any problem.")] = False,
    verify: Annotated[bool, typer.Option(help="Compute every number again from the stored predictions.")] = False,
) -> None:
    """Make the tables and the page from result records."""
    from skill_bench.base.errors import RecordError
    from skill_bench.report.render.page import write_page
    from skill_bench.report.render.render import write_tables
    from skill_bench.report.render.students import with_problems
    from skill_bench.report.table.load import load_table

    chosen = names_in(tasks)
    for task in chosen or ():
        catalog.entry("tasks", task)  # an unknown one is said
    table = with_problems(load_table(results, suite=suite, tasks=chosen, published=published))
    listed = "\n".join(f"  {problem}" for problem in table.problems)
    if strict and table.problems:
        raise RecordError(f"{counted(len(table.problems), 'problem')}, no table was written:\n{listed}")
    unverified = _verify(table, strict=strict) if verify else ()
    written = [*write_tables(table, out, tasks=chosen), write_page(table, out)]
    if figures:
        from skill_bench.report.render.figures import write_figures

        written += write_figures(table, out / "figures")
    for path in written:
        typer.echo(path)
    labels = [section.label for section in table.sections]
    n_rows = sum(len(section.rows) for section in table.sections)
    typer.echo(filled(f"{counted(n_rows, 'row')} in {counted(len(labels), 'section')}: {'; '.join(labels)}"))
    if (found := next((section.finding for section in table.sections if section.finding), None)) is not None:
        typer.echo(filled(found))
    if table.problems:
        typer.echo(f"{counted(len(table.problems), 'problem')}:\n{listed}", err=True)
    for one in unverified:
        typer.echo(f"not verified: {one}", err=True)


def _verify(table: Table, *, strict: bool) -> Sequence[str]:
    """Says how much was found again, returns what could not be; fails with the list of what was not."""
    from skill_bench.base.errors import RecordError
    from skill_bench.report.table.verify import verify

    found = verify(table)
    wrong = [*found.mismatches, *(found.unverified if strict else ())]
    if wrong:
        listed = "\n".join(f"  {one}" for one in wrong)
        raise RecordError(f"{counted(len(wrong), 'number')} cannot be confirmed, no table was written:\n{listed}")
    numbers, records = counted(found.n_numbers, "number"), counted(found.n_records, "record")
    typer.echo(filled(f"verified: {numbers} of {records} computed again from predictions, all match"))
    return found.unverified


def compare(
    a: Annotated[str, typer.Argument(help=_NAME)],
    b: Annotated[str, typer.Argument(help="The system that is judged beside it.")],
    results: Annotated[
        Path | None,
        typer.Option(
            help="Folder or archive of records, results by default; the bundled ones are always read.", callback=there
        ),
    ] = None,
    suite: Annotated[str | None, typer.Option(help="Only this suite.")] = None,
    level: Annotated[float, typer.Option(min=0.0001, max=0.5, help="Error level, corrected over tasks.")] = 0.05,
    csv: Annotated[
        Path | None, typer.Option(help="Also write the numbers to this file.", callback=file_to_write)
    ] = None,
) -> None:
    """Test whether one system is better than another, task by task on the same test items."""
    from skill_bench.api.compare import compare as compared
    from skill_bench.base.documents import write_atomic
    from skill_bench.report.comparison import to_csv, to_text

    found = compared(a, b, results=results, suite=suite, level=level)
    for one in found.sections:
        typer.echo(to_text(one))
    if csv is not None:
        typer.echo(f"written to {write_atomic(csv, to_csv(found.sections).encode())}")
    for problem in found.problems:
        typer.echo(f"problem: {problem}", err=True)


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


@archives.command("pack")
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


@archives.command("unpack")
def unpack_records(
    archive: Annotated[Path, typer.Argument(help="FILE.zip, as `results pack` makes it.", callback=there)],
    out: Annotated[Path, typer.Option(help="Folder for the records.", callback=folder_to_write)],
) -> None:
    """Write the files of an archive as a folder of records."""
    from skill_bench.records.store import unpack

    found = unpack(archive, out)
    typer.echo(f"{out}: {_counted(found)}")
    _say_left_out(found)


@archives.command("list")
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
