"""A section on a terminal: the columns that matter within its width, the caller's rows first, notes below."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from skill_bench.base import catalog, escape
from skill_bench.base.counted import counted
from skill_bench.base.errors import UnknownName
from skill_bench.base.escape import one_line
from skill_bench.base.filled import filled
from skill_bench.report.render.layout import NO_INTERVAL, RANKING, TextColumn, columns_of, name_of, notes_of, panels
from skill_bench.report.table.load import RUN, load_collections, of_run
from skill_bench.report.table.quantities import MACS_SUPERB, MEAN, PARAMETERS, THROUGHPUT, quantities
from skill_bench.report.table.relative import teacher_of
from skill_bench.report.table.table import Section

TASKS, ALL = "tasks", "all"
_COSTS = tuple(map(name_of, (PARAMETERS, MACS_SUPERB, THROUGHPUT)))
_FEW_TASKS = 2
"""So many tasks stand in the table unasked."""
_NEAR, _NEAR_IN_A_DEMO = 3, 1
"""Rows shown above and below one's own."""
_HEADING_LINES = 2
_MARK, _TITLE, _GAP = 1, 26, 2
"""Characters of the first two columns, and between columns."""


def require_columns(names: Sequence[str]) -> None:
    """Checks names of columns before anything is computed.

    Raises:
        UnknownName: one that no table has.
    """
    found = [name_of(one) for one in chain(quantities("score", printed=True), quantities("cost", printed=True))]
    known = [ALL, TASKS, "source", "rank", *found, *catalog.names("tasks")]
    for name in names:
        if name not in known:
            raise UnknownName("column", name, known)


def print_section(section: Section, console: Console, *, columns: Sequence[str] = ()) -> None:
    """Prints one section as blocks that fit the console, then what its rows have to say.

    Args:
        columns: Instead of those that matter, names that `require_columns` knows.
    """
    own, near = _rows(section)
    chosen = [column.of([*own, *near]) for column in _chosen(section, columns)]
    _say(console, escape.one_line(section.label))
    for block in _blocks(chosen, console.width):
        console.print()
        console.print(_grid(block, n_own=len(own)))
    console.print()
    shown = [section.rows[i] for i in (*own, *near)]
    notes = []
    if left := len(section.rows) - len(shown):
        others = counted(left, "row that is farther away is", "rows that are farther away are")
        notes.append(f"{others} not shown: skill-bench leaderboard has all.")
    if section.synthetic:
        notes.append("Synthetic speech: this shows that everything works, and ranks nothing.")
    for line in (*notes, *_legend(chosen, has_own=bool(own)), *map(escape.one_line, notes_of(section, shown))):
        _say(console, filled(f"  {line}", columns=console.width))


def _rows(section: Section) -> tuple[list[int], list[int]]:
    """The caller's rows, and those beside them with their teachers, each by number and best first."""
    own = [i for i, row in enumerate(section.rows) if row.origin == RUN]
    if not own:
        return [], list(range(len(section.rows)))
    teachers = [teacher_of(section.rows[i], section.rows) for i in own]
    most = _NEAR_IN_A_DEMO if section.synthetic else _NEAR
    near = [
        i
        for i, row in enumerate(section.rows)
        if i not in own and (min(abs(i - k) for k in own) <= most or any(row is teacher for teacher in teachers))
    ]
    return own, near


def _chosen(section: Section, names: Sequence[str]) -> list[TextColumn]:
    """The columns to show, the system first; in the order of ``names`` where they are given."""
    title, *others = columns_of(section, certainty="half")
    tasks = [column for column in others if column.name in section.tasks]
    if not names:
        whole = () if section.synthetic or len(section.tasks) == 1 else RANKING
        has_mean = name_of(MEAN) in whole and any(column.name == name_of(MEAN) for column in others)
        names = (*whole, *_COSTS) if has_mean and len(section.tasks) > _FEW_TASKS else (TASKS, *whole, *_COSTS)
    wanted = {ALL: others, TASKS: tasks}
    found = chain.from_iterable(wanted.get(name, [c for c in others if c.name == name]) for name in names)
    return [title, *dict.fromkeys(found)]


def _blocks(columns: Sequence[TextColumn], width: int) -> list[list[TextColumn]]:
    """As many columns side by side as fit; the first stands at the head of every block."""
    title, *others = columns
    room = width - _MARK - _GAP - min(_TITLE, _width(title))
    blocks = panels([_width(column) + _GAP for column in others], room)
    return [[title, *(others[i] for i in block)] for block in blocks]


def _width(column: TextColumn) -> int:
    """Of its texts, and of its heading on two lines."""
    width = max(map(cell_len, (*column.texts, *_words(column.heading))))
    while len(_lines(column.heading, width)) > _HEADING_LINES:
        width += 1
    return width


def _lines(heading: str, width: int) -> list[str]:
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in textwrap.wrap(" ".join(_words(heading)), width)]


def _words(heading: str) -> list[str]:
    """What a heading may be broken into: an arrow stays with its word."""
    return heading.replace(" ↑", "\N{NO-BREAK SPACE}↑").replace(" ↓", "\N{NO-BREAK SPACE}↓").split(" ")


def _grid(columns: Sequence[TextColumn], *, n_own: int) -> Grid:
    title, *others = columns
    grid = Grid(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, _GAP - 1, 0, 0))
    grid.add_column("", width=_MARK)
    grid.add_column(title.heading, width=min(_TITLE, _width(title)), vertical="bottom")
    for column in others:
        heading = "\n".join(_lines(column.heading, _width(column)))
        grid.add_column(Text(heading), justify="left" if column.is_text else "right", no_wrap=True, vertical="bottom")
    for i, name in enumerate(title.texts):
        own = i < n_own
        again = " (shipped)" if not own and name in title.texts[:n_own] else ""
        texts = [">" if own else "", escape.one_line(name) + again, *(one.texts[i] for one in others)]
        grid.add_row(*map(Text, texts), style="bold" if own else "")
    return grid


def _legend(columns: Sequence[TextColumn], *, has_own: bool) -> list[str]:
    """What the signs mean that are there."""
    texts = [text for column in columns for text in (column.heading, *column.texts)]
    said = {
        "±": "±: half of the 95 % confidence interval",
        NO_INTERVAL: f"{NO_INTERVAL}: no interval, see below",
        "–": "–: not there, or the last of the places that rows share which the test does not tell apart",
    }
    parts = [meaning for sign, meaning in said.items() if any(sign in text for text in texts)]
    parts = [*(["> was measured here"] if has_own else []), *parts]
    return [f"{'; '.join(parts)}."] if parts else []


def _say(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def show(
    out_dir: Path,
    *,
    suite: str,
    tasks: Sequence[str] | None = None,
    columns: Sequence[str] = (),
    console: Console | None = None,
) -> None:
    """Prints every section of ``suite`` in which the run has a record, beside the shipped records on the same data.

    Args:
        tasks: only these; the mean is then over them.
        columns: as `skill_bench.report.render.terminal.print_section` takes them.
    """
    console = console or Console()
    if not out_dir.is_dir():
        console.print(f"{out_dir} holds no record.", markup=False, highlight=False)
        return
    found = of_run(load_collections(out_dir, suite=suite, tasks=tasks))
    for section in found.table.sections:
        print_section(section, console, columns=columns)
    if found.others:
        console.print(
            f"Not shown, other data or settings: {'; '.join(found.others)}. See skill-bench leaderboard.",
            markup=False,
            highlight=False,
        )
    for problem in found.table.problems:
        console.print(f"problem: {one_line(problem)}", style="yellow", markup=False, highlight=False)
