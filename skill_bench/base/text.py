"""The one reader of text: encoding, byte order mark, line ends, field counts; file and line in every error.

UTF-8 with or without a byte order mark, UTF-16 and UTF-32 with one. Lines end at LF, CR LF or CR and nowhere else
(``str.splitlines`` also ends them at form feeds, NEL and U+2028, which stand inside of texts), and fields are separated
by ASCII blanks and tabs alone (``str.split`` also takes no-break spaces).
"""

from __future__ import annotations

import codecs
import csv
import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from skill_bench.base.counted import counted
from skill_bench.base.errors import DataError, SkillBenchError

# UTF-32's begin with UTF-16's.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_END = re.compile(r"\r\n|\n|\r")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
# A quoted field of csv counts as one only where it is whole; a quote elsewhere stands for itself.
_QUOTED = re.compile(r'"((?:[^"]|"")*)"(?=\t|$)')
_BLANKS = " \t"

Error = type[SkillBenchError]


class Line(NamedTuple):
    """A line without its end."""

    number: int
    text: str

    @property
    def is_blank(self) -> bool:
        return not self.text.strip(_BLANKS)

    def fields(self) -> list[str]:
        """What blanks and tabs separate."""
        return re.findall(r"[^ \t]+", self.text)

    def pair(self) -> tuple[str, str]:
        """The first field, and the rest without surrounding blanks; ``""`` where there is none."""
        name, *rest = re.split(r"[ \t]+", self.text.strip(_BLANKS), maxsplit=1)
        return name, rest[0] if rest else ""


def is_file(path: Path) -> bool:
    """Whether it is; a name that no file can have is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def read_text(path: Path, *, error: Error = DataError) -> str:
    """A file's text, without its byte order mark.

    Raises:
        error: it cannot be read, is in another encoding, or holds NUL; names file, line and byte and how to convert.
    """
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as reason:
        why = reason.strerror if isinstance(reason, OSError) and reason.strerror else reason
        raise error(f"{path}: cannot be read ({why}). Check the path.") from reason
    mark, encoding = next(((m, e) for m, e in _MARKS if content.startswith(m)), (b"", "utf-8"))
    try:
        text = content[len(mark) :].decode(encoding)
    except UnicodeDecodeError as reason:
        at = reason.start + len(mark)
        raise error(_undecodable(path, content, at, encoding)) from reason
    if "\0" in text:
        line = len(_END.findall(text, 0, text.index("\0"))) + 1
        raise error(
            f"{path}:{line}: holds the character NUL, so it is no text, or UTF-16 without a byte order mark. Save the "
            "file as UTF-8."
        )
    return text


def _undecodable(path: Path, content: bytes, at: int, encoding: str) -> str:
    before = content[:at]
    line = len(re.findall(rb"\r\n|\n|\r", before)) + 1
    if encoding != "utf-8":
        return (
            f"{path}: begins as {encoding.upper()}, but is not (byte {at}). Copy the file again, or save it as UTF-8."
        )
    return (
        f"{path}:{line}: not UTF-8 (byte {at}). Save the file as UTF-8; if it is Latin-1: "
        f"iconv -f LATIN1 -t UTF-8 {path.name} > utf8-{path.name}"
    )


def split_lines(text: str) -> list[Line]:
    """The lines of a text, from 1; an end after the last begins no other.

    A byte order mark at the start of a line is dropped: files that were joined have some inside.
    """
    lines = _END.split(text)
    if lines[-1] == "":
        lines.pop()
    return [Line(number, line.removeprefix("\ufeff")) for number, line in enumerate(lines, start=1)]


def read_lines(path: Path, *, error: Error = DataError) -> list[Line]:
    """The lines of a file that are not blank, with their numbers in it.

    Raises:
        error: as `read_text`.
    """
    return [line for line in split_lines(read_text(path, error=error)) if not line.is_blank]


def csv_rows(path: Path, *, error: Error = DataError) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The columns of a table with commas and csv's quotes, and the values of each row with its line.

    Raises:
        error: as `read_text`; no head, a column named twice, an open quote.
    """
    lines = (f"{line.text}\n" for line in split_lines(read_text(path, error=error)))
    rows = list(_numbered(csv.reader(lines, strict=True), path, error))
    columns = rows[0][1] if rows else []
    check_head(columns, path, error=error)
    return columns, [(number, values) for number, values in rows[1:] if values]


def read_csv(path: Path, *, error: Error = DataError) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """As `csv_rows`, each row's values by column.

    Raises:
        error: also a row with another number of values than the first line names columns.
    """
    columns, rows = csv_rows(path, error=error)
    for number, values in rows:
        if len(values) != len(columns):
            raise error(
                f"{path}:{number}: {counted(len(values), 'value')}, but the first line names "
                f"{counted(len(columns), 'column')} ({', '.join(columns)}). Quote values that hold commas, and "
                "leave empty ones empty."
            )
    return columns, [(number, dict(zip(columns, values, strict=True))) for number, values in rows]


def _numbered(reader: Iterator[list[str]], path: Path, error: Error) -> Iterator[tuple[int, list[str]]]:
    number = 1
    try:
        for values in reader:
            yield number, values
            number = reader.line_num + 1  # type: ignore[attr-defined]
    except csv.Error as reason:
        raise error(f"{path}:{number}: not a CSV file ({reason}). Check the quotes.") from reason


def check_head(columns: Iterable[str], path: Path, *, error: Error = DataError) -> None:
    """Columns have names, each its own.

    Raises:
        error: none has, or two share one.
    """
    named = list(columns)
    if not any(named):
        raise error(f"{path}:1: no header. The first line names the columns.")
    repeated = [column for column in dict.fromkeys(named) if named.count(column) > 1]
    if repeated:
        raise error(f"{path}:1: the header names {repeated[0]!r} twice.")


def split_tabs(text: str) -> list[str]:
    """What tabs separate; a value that is quoted as a whole, as spreadsheets and pandas write, without its quotes."""
    if '"' not in text:
        return text.split("\t")
    values, at = [], 0
    while True:
        quoted = _QUOTED.match(text, at)
        if quoted:
            values.append(quoted[1].replace('""', '"'))
            at = quoted.end()
        else:
            end = text.find("\t", at)
            values.append(text[at : end if end >= 0 else len(text)])
            at = end if end >= 0 else len(text)
        if at >= len(text):
            return values
        at += 1


def number(text: str) -> float:
    """A finite decimal number; NaN for anything else, so that it fails every comparison.

    ``float`` also takes ``1_0``, digits of other scripts, ``nan`` and ``inf``.
    """
    value = float(text) if _NUMBER.fullmatch(text.strip(_BLANKS)) else math.nan
    return value if math.isfinite(value) else math.nan
