"""Lines that fit a terminal: what is longer goes on below, further in. The one place that wraps text."""

from __future__ import annotations

import shutil
import textwrap

COLUMNS = 80
"""Where the output is no terminal."""


def filled(line: str, *, columns: int | None = None, hanging: int | None = None) -> str:
    """``line`` as lines of at most so many columns, as wide as the terminal if that is not said.

    Words are never broken: a path or an address can be copied.

    Args:
        hanging: Blanks before the lines that follow; by default two more than before the first.
    """
    columns = columns or shutil.get_terminal_size((COLUMNS, 24)).columns
    if len(line) <= columns:
        return line
    before = line[: len(line) - len(line.lstrip())]
    after = before + "  " if hanging is None else " " * hanging
    return textwrap.fill(
        line.strip(),
        columns,
        initial_indent=before,
        subsequent_indent=after,
        break_long_words=False,
        break_on_hyphens=False,
    )
