"""A table as LaTeX for papers: booktabs, ± half the interval, the best of a column in bold, the second underlined."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from skill_bench.base.escape import one_line
from skill_bench.report.render.layout import (
    ABSENT,
    NO_INTERVAL,
    RANKING,
    TextColumn,
    averaged,
    columns_of,
    name_of,
    panels,
    without_interval,
)
from skill_bench.report.table.quantities import COLD_START, COMPRESSION, PEAK_MEMORY, REAL_TIME_FACTOR, THROUGHPUT
from skill_bench.report.table.table import Section, Table

_SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "↑": r"$\uparrow$", "↓": r"$\downarrow$", "±": r"$\pm$",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", ABSENT: "--",
    NO_INTERVAL: r"$\dagger$",
    "[": "{[}", "]": "{]}", "*": "{*}",  # at the beginning of a line the one above would take them
}  # fmt: skip
_ANY = re.compile("|".join(re.escape(character) for character in _SPECIAL))

_COLUMN_POINTS, _PAGE_POINTS = 236.0, 480.0
"""Widths of one column and of both, in the narrower of Interspeech's and IEEE's styles."""
_SIZES = {9: "small", 8: "footnotesize", 7: "scriptsize"}
_LEFT_OUT = ("source", *map(name_of, (THROUGHPUT, PEAK_MEMORY, REAL_TIME_FACTOR, COLD_START, COMPRESSION)))
"""What is of a machine rather than of a model."""
_TITLE_EMS = 10.5
"""Longer titles are broken into lines."""
_SEPARATION_POINTS = 2.5
"""``\\tabcolsep``, on both sides of a column."""
_WIDE, _NARROW = "±↑↓MWm%", ".,;:'il|[]() "
_SIGN = r"$\,\pm$"
_SMALLER = 5 / 7
"""Of ``\\tiny`` to the smallest size that is taken."""


def latex(table: Table, *, tasks: Sequence[str] | None = None) -> str:
    """One float a section, as wide as one column of a page or as both; needs ``\\usepackage{booktabs}``.

    Measured and published systems stand in tables of their own; published ones are in italics besides. What does not
    fit side by side goes into a second panel of the same table. Systems of which nothing is known there are left out.
    Synthetic speech ranks nothing: nothing is marked.

    Args:
        tasks: only these; None for all.
    """
    head = [
        r"% \usepackage{booktabs}; \cite{superb,skill,dphubert} and the published systems' sources: references.bib",
        "% bold: best of a column, underlined: second best",
    ]
    return "\n".join([*head, *(_environment(section, tasks) for section in table.sections)])


def escape(text: str) -> str:
    """Text that LaTeX prints as it is, on one line."""
    return _ANY.sub(lambda found: _SPECIAL[found.group()], one_line(text))


def _environment(section: Section, tasks: Sequence[str] | None) -> str:
    title, *columns = [column for column in columns_of(section, certainty="half") if column.name not in _LEFT_OUT]
    if section.synthetic:
        columns = [column for column in columns if column.name not in RANKING]
    if tasks is not None:
        columns = [column for column in columns if column.name in tasks or column.name not in section.tasks]
    told = [row for row in range(len(section.rows)) if any(column.texts[row] != ABSENT for column in columns)]
    if not told:
        return ""
    section = replace(section, rows=tuple(section.rows[row] for row in told))
    title, columns = title.of(told), [column.of(told) for column in columns]
    widths = [_ems(column) for column in columns]
    title_ems = min(_TITLE_EMS, max(map(_text_ems, title.texts), default=1.0))
    size, available = _fitting(title_ems, widths)
    star = "*" if available == _PAGE_POINTS else ""
    room = available - title_ems * size - 2 * _SEPARATION_POINTS
    needed = [width * size + 2 * _SEPARATION_POINTS for width in widths]
    return "\n".join(
        [
            rf"\begin{{table{star}}}[t]",
            r"  \centering",
            rf"  \caption{{{escape(_caption(section))}}}",
            rf"  \label{{tab:{re.sub(r'[^a-z0-9]+', '-', section.label.lower()).strip('-')}}}",
            rf"  \{_SIZES[size]}\setlength{{\tabcolsep}}{{{_SEPARATION_POINTS}pt}}",
            "  \\par\\smallskip\n".join(
                _tabular(section, title, [columns[i] for i in panel], f"{title_ems * size:.0f}pt")
                for panel in panels(needed, room)
            ),
            rf"\end{{table{star}}}",
            "",
        ]
    )


def _fitting(title_ems: float, widths: Sequence[float]) -> tuple[int, float]:
    """Font size and width: the first that holds everything side by side, else panels across the page."""
    for available in (_COLUMN_POINTS, _PAGE_POINTS):
        for size in _SIZES:
            if (title_ems + sum(widths)) * size + 2 * _SEPARATION_POINTS * (len(widths) + 1) <= available:
                return size, available
    return 8, _PAGE_POINTS


def _tabular(section: Section, title: TextColumn, columns: Sequence[TextColumn], width: str) -> str:
    headings = [column.heading.partition(" ") for column in columns]
    lines = [
        rf"  \begin{{tabular}}{{@{{}}p{{{width}}}{'r' * len(columns)}@{{}}}}",
        r"    \toprule",
        "    " + " & ".join(["", *(escape(first) for first, _, _ in headings)]) + r" \\",
        "    " + " & ".join([escape(title.heading), *(escape(rest) for _, _, rest in headings)]) + r" \\",
        r"    \midrule",
    ]
    for i, row in enumerate(section.rows):
        name = escape(title.texts[i])
        name = rf"\textit{{{name}}}" if row.source == "published" else name
        cells = [_cell(column, i, marked=not section.synthetic) for column in columns]
        lines.append("    " + " & ".join([rf"\raggedright {name}", *cells]) + r" \\")
    return "\n".join([*lines, r"    \bottomrule", r"  \end{tabular}"])


def _cell(column: TextColumn, row: int, *, marked: bool) -> str:
    value, around = _parted(column.texts[row])
    text, place = escape(value), column.places[row] if column.places and marked else None
    if place == 1:
        text = rf"\textbf{{{text}}}"
    elif place == 2:
        text = rf"\underline{{{text}}}"
    return text + (rf"{{\tiny{_SIGN if around.startswith('±') else ' '}{around.removeprefix('± ')}}}" if around else "")


def _parted(text: str) -> tuple[str, str]:
    """A number, and its ``± 5.1`` or ``[0.3, 9.9]``."""
    value, _, around = text.partition(" ")
    return (value, around) if around.startswith(("±", "[")) else (text, "")


def _caption(section: Section) -> str:
    said = [section.label]
    if section.source == "measured":
        said.append("± half of the 95 % confidence interval over test items and seeds")
        if section.left_out:
            said.append(
                f"mean over {averaged(section)} alone: on the other tasks the teacher is not clearly ahead of controls "
                "that learnt nothing"
            )
        said.append("synthetic speech, which ranks nothing" if section.synthetic else "best in bold, second underlined")
    else:
        said.append("best in bold, second underlined")
    return "; ".join([*said, *without_interval(section)]) + "."


def _ems(column: TextColumn) -> float:
    first, _, rest = column.heading.partition(" ")
    cells = [_parted(text) for text in column.texts]
    widths = [_text_ems(value) + _SMALLER * _text_ems(f" {around}" if around else "") for value, around in cells]
    return max(*widths, _text_ems(first), _text_ems(rest))


def _text_ems(text: str) -> float:
    """Its width in Computer Modern, or a little more: digits as in bold, letters as their wide ones."""
    return sum(0.85 if c in _WIDE else 0.32 if c in _NARROW else 0.76 if c.isupper() else 0.58 for c in text)
