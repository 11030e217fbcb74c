"""Text from records, data and papers inside other formats, where some of its characters would mean something."""

from __future__ import annotations

import re
from typing import TypeVar

Cell = TypeVar("Cell")
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_LINE_ENDS = re.compile("\r\n|[\t\n\v\f\r\x1c-\x1e\x85\u2028\u2029]")
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Terminals obey the first, readers of text the marks of direction, and no file can hold half a character."""
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0, section 2.2 leaves out."""
_MARKDOWN = re.compile(r"([\\`*\[\]~])")
_PATH = re.compile(r"(?<![\w.:/])/(?:[^\s/:;,'\"()]+/)+(?=[^\s/])")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""How a cell begins that a spreadsheet computes instead of showing it."""


def one_line(text: str) -> str:
    """``text`` without line ends and control characters, for a cell, a heading or a terminal."""
    return _CONTROLS.sub(REPLACEMENT, _LINE_ENDS.sub(" ", text))


def without_paths(text: str) -> str:
    """``text`` with files named by their last name: whoever is sent it has none of these folders."""
    return _PATH.sub("", text)


def markdown(text: str) -> str:
    """One line of Markdown that shows ``text`` as it is: no markup, no HTML."""
    escaped = _MARKDOWN.sub(r"\\\1", one_line(text))
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def markdown_cell(text: str) -> str:
    """As `markdown`, where a bar would end the cell of a table."""
    return markdown(text).replace("|", r"\|")


def spreadsheet(cell: Cell) -> Cell | str:
    """A cell of a CSV file: text that would be computed has an apostrophe before it, numbers stay as they are."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell


def xml(text: str) -> str:
    """``text`` without the characters that no XML file may hold, however they are written."""
    return _NOT_XML.sub(REPLACEMENT, text)
