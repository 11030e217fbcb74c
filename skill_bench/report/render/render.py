"""A table as CSV in full precision, as Markdown, and on the console."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from tabulate import tabulate

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
        "table.csv": to_frame(table).to_csv(index=False, lineterminator="\n"),
        "table.md": markdown(table),
        "table.tex": latex(table),
    }
    return [write_atomic(folder / name, text.encode()) for name, text in texts.items()]


def markdown(table: Table) -> str:
    """Every section with its notes, and what the cells mean."""
    parts = []
    for section in table.sections:
        parts.append(f"## {section.label}\n\n" + _grid(section, "github", intervals=True))
        parts += [f"- {note}" for note in notes_of(section)]
    if not parts:
        parts = ["No records yet."]
    if table.problems:
        parts.append("## Problems\n\n" + "\n".join(f"- {problem}" for problem in table.problems))
    return "\n\n".join([*parts, LEGEND]) + "\n"


def print_section(section: Section, console: Console) -> None:
    """Prints one section and its notes."""
    # A row that does not fit is better broken by the terminal than cut by us.
    console.print(f"{section.label}\n\n{_grid(section, 'simple')}\n", markup=False, highlight=False, soft_wrap=True)
    for note in notes_of(section):
        console.print(f"  {note}", markup=False, highlight=False)


def _grid(section: Section, style: str, *, intervals: bool = False) -> str:
    columns = columns_of(section, metric=with_interval if intervals else None, whole_rows=intervals)
    return tabulate(
        list(zip(*(column.texts for column in columns), strict=True)),
        [column.heading for column in columns],
        style,
        colalign=["left" if column.is_text else "right" for column in columns],
        disable_numparse=True,
    )
