"""A table as LaTeX for papers: booktabs, the best of a column in bold, the second underlined."""

from __future__ import annotations

import re

from skill_bench.base.escape import one_line
from skill_bench.report.render.layout import ABSENT, TextColumn, columns_of, source_of
from skill_bench.report.table.table import Section, Table

_SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "↑": r"$\uparrow$", "↓": r"$\downarrow$", "±": r"$\pm$",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", ABSENT: "--",
    "[": "{[}", "]": "{]}", "*": "{*}",  # at the beginning of a line the one above would take them
}  # fmt: skip
_ANY = re.compile("|".join(re.escape(character) for character in _SPECIAL))


def latex(table: Table) -> str:
    """One ``table`` environment a section; needs ``\\usepackage{booktabs}``.

    Measured and published systems stand in tables of their own; published ones are in italics besides.
    """
    head = r"% \usepackage{booktabs}; bold: best of a column, underlined: second best" + "\n"
    return head + "\n".join(_environment(section) for section in table.sections)


def escape(text: str) -> str:
    """Text that LaTeX prints as it is, on one line."""
    return _ANY.sub(lambda found: _SPECIAL[found.group()], one_line(text))


def _environment(section: Section) -> str:
    columns = [column for column in columns_of(section, whole_rows=True) if column.heading != "source"]
    alignment = "".join("l" if column.is_text else "r" for column in columns)
    lines = [
        r"\begin{table}",
        r"  \centering",
        rf"  \caption{{{escape(_caption(section))}}}",
        rf"  \begin{{tabular}}{{{alignment}}}",
        r"    \toprule",
        "    " + " & ".join(escape(column.heading) for column in columns) + r" \\",
        r"    \midrule",
    ]
    for i, row in enumerate(section.rows):
        cells = [_marked(column, i) for column in columns]
        if row.source == "published":
            cells[0] = rf"\textit{{{cells[0]}}}"
        lines.append("    " + " & ".join(cells) + r" \\")
    return "\n".join([*lines, r"    \bottomrule", r"  \end{tabular}", r"\end{table}", ""])


def _caption(section: Section) -> str:
    sources = sorted({source_of(row) for row in section.rows})
    return section.label if section.source == "published" else f"{section.label} ({'; '.join(sources)})"


def _marked(column: TextColumn, row: int) -> str:
    text, place = escape(column.texts[row]), column.places[row] if column.places else None
    if place == 1:
        return rf"\textbf{{{text}}}"
    return rf"\underline{{{text}}}" if place == 2 else text
