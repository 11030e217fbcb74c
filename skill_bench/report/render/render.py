"""A table as CSV in full precision and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pandas.api.types import is_numeric_dtype
from tabulate import tabulate

from skill_bench.base import catalog, escape
from skill_bench.base.documents import write_atomic
from skill_bench.base.errors import SkillBenchError
from skill_bench.base.text import read_text
from skill_bench.report.render.frame import to_frame
from skill_bench.report.render.latex import latex
from skill_bench.report.render.layout import ABSENT, NO_INTERVAL, columns_of, notes_of
from skill_bench.report.table.table import Section, Table

LEGEND = (
    f"↑ higher is better, ↓ lower is better; [from, to]: 95 % confidence interval over test items and seeds; "
    f"{NO_INTERVAL}: none, see the notes; {ABSENT}: not there. "
    "mean: over the section's tasks that count, error rates as 100 minus them; only where none of them is missing. "
    "rank: by the mean, shared by systems that the paired test does not tell apart from the first of them. "
    "of teacher: the mean (published systems: the overall score), in per cent of the system's own teacher's. "
    "MACs: over the 32 utterances of the SUPERB challenge, counted its way."
)


def write_tables(table: Table, folder: Path, *, tasks: Sequence[str] | None = None) -> list[Path]:
    """Writes ``table.csv`` (every column, full precision), ``table.md``, ``table.tex`` and ``references.bib``.

    Args:
        folder: Is made if it is not there.
        tasks: Only these in ``table.tex``; None for all.
    """
    texts = {
        "table.csv": csv(table),
        "table.md": markdown(table),
        "table.tex": latex(table, tasks=tasks),
        "references.bib": read_text(catalog.folder("leaderboard") / "published" / "sources.bib", error=SkillBenchError),
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
        parts.append(f"## {escape.markdown(section.label)}\n\n{_grid(section)}")
        parts += [f"- {escape.markdown(note)}" for note in notes_of(section)]
    if not parts:
        parts = ["No records yet."]
    if table.problems:
        parts.append("## Problems\n\n" + "\n".join(f"- {escape.markdown(problem)}" for problem in table.problems))
    return "\n\n".join([*parts, LEGEND]) + "\n"


def _grid(section: Section) -> str:
    columns = columns_of(section, certainty="ends")
    return tabulate(
        list(zip(*(map(escape.markdown_cell, c.texts) if c.is_text else c.texts for c in columns), strict=True)),
        [escape.markdown_cell(column.heading) for column in columns],
        "github",
        colalign=["left" if column.is_text else "right" for column in columns],
        disable_numparse=True,
    )
