"""A table as CSV in full precision, as Markdown, and on the console."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pandas.api.types import is_numeric_dtype
from rich.console import Console
from tabulate import tabulate

from skill_bench.base import escape
from skill_bench.base.documents import write_atomic
from skill_bench.report.render.frame import to_frame
from skill_bench.report.render.latex import latex
from skill_bench.report.render.layout import ABSENT, columns_of, notes_of, with_interval
from skill_bench.report.table.table import Section, Table

LEGEND = (
    f"↑ higher is better, ↓ lower is better; [from, to]: 95 % confidence interval; {ABSENT}: not there. "
    "mean: over the section's tasks, error rates as 100 minus them; only where no task is missing. "
    "rank: by the mean, shared by systems that the paired test does not tell apart from the first of them. "
    "of teacher: the mean (published systems: the overall score), in per cent of the system's own teacher's. "
    "MACs: over the 32 utterances of the SUPERB challenge, counted its way."
)


def write_tables(table: Table, folder: Path) -> list[Path]:
    """Writes ``table.csv`` (every column, full precision), ``table.md`` and ``table.tex`` into ``folder``."""
    texts = {
        "table.csv": csv(table),
        "table.md": markdown(table),
        "table.tex": latex(table),
    }
    return [write_atomic(folder / name, text.encode()) for name, text in texts.items()]


def csv(table: Table) -> str:
    """The frame in full precision; a text that a spreadsheet would compute has an apostrophe before it."""
    frame = to_frame(table)
    texts = [str(name) for name in frame if not is_numeric_dtype(frame[name])]
    frame = frame.assign(**{name: frame[name].map(escape.spreadsheet) for name in texts})
    return str(frame.rename(columns=escape.spreadsheet).to_csv(index=False, lineterminator="\n"))


def markdown(table: Table) -> str:
    """Every section with its notes, and what the cells mean."""
    parts = []
    for section in table.sections:
        parts.append(
            f"## {escape.markdown(section.label)}\n\n" + _grid(section, "github", escape.markdown_cell, intervals=True)
        )
        parts += [f"- {escape.markdown(note)}" for note in notes_of(section)]
    if not parts:
        parts = ["No records yet."]
    if table.problems:
        parts.append("## Problems\n\n" + "\n".join(f"- {escape.markdown(problem)}" for problem in table.problems))
    return "\n\n".join([*parts, LEGEND]) + "\n"


def print_section(section: Section, console: Console) -> None:
    """Prints one section and its notes."""
    # A row that does not fit is better broken by the terminal than cut by us.
    console.print(
        f"{escape.one_line(section.label)}\n\n{_grid(section, 'simple', escape.one_line)}\n",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    for note in notes_of(section):
        console.print(f"  {escape.one_line(note)}", markup=False, highlight=False)


def _grid(section: Section, style: str, escaped: Callable[[str], str], *, intervals: bool = False) -> str:
    columns = columns_of(section, metric=with_interval if intervals else None, whole_rows=intervals)
    return tabulate(
        list(zip(*(map(escaped, c.texts) if c.is_text else c.texts for c in columns), strict=True)),
        [escaped(column.heading) for column in columns],
        style,
        colalign=["left" if column.is_text else "right" for column in columns],
        disable_numparse=True,
    )
