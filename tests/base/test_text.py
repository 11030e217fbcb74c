"""The reader of all text: any encoding with a mark, any line end, nothing skipped; file and line in every error.

Singular and plural.

How long lists are shortened in messages.

Any text inside other formats: shown as it is, never obeyed.
"""

from __future__ import annotations

import codecs
import csv
import html
import io
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skill_bench.base import escape
from skill_bench.base.counted import counted
from skill_bench.base.errors import DataError, ManifestError, first_few
from skill_bench.base.text import number, read_csv, read_lines, read_text, split_lines, split_tabs
from skill_bench.report.render import latex

ENCODINGS = {
    "utf-8": b"", "utf-8-sig": b"", "utf-16-le": codecs.BOM_UTF16_LE, "utf-16-be": codecs.BOM_UTF16_BE,
    "utf-32-le": codecs.BOM_UTF32_LE, "utf-32-be": codecs.BOM_UTF32_BE,
}  # fmt: skip
LINE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0")).filter(
    lambda line: not line.startswith("\ufeff")
)
SPICY = st.text(
    alphabet="ab\\`*|[]~<>&;#=+-@\t\r\n\v\f\0\x1b\x1c\x85\u2028\u202e\ud800\ufffe$_^{}%'\"é😀 ", max_size=12
)
TEXTS = SPICY | st.text(max_size=12)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lines=st.lists(LINE),
    encoding=st.sampled_from(sorted(ENCODINGS)),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    ended=st.booleans(),
)
def test_lines_come_back(lines: list[str], encoding: str, end: str, ended: bool, tmp_path: Path) -> None:
    if lines and not lines[-1]:
        ended = True  # an empty last line shows by its end alone
    text = end.join(lines) + (end if ended and lines else "")
    path = tmp_path / "text"
    path.write_bytes(ENCODINGS[encoding] + text.encode(encoding))
    assert [(line.number, line.text) for line in split_lines(read_text(path))] == list(enumerate(lines, start=1))
    kept = [(i, line) for i, line in enumerate(lines, start=1) if line.strip(" \t")]
    assert [(line.number, line.text) for line in read_lines(path)] == kept


@pytest.mark.parametrize("inside", ["\u2028", "\u2029", "\x85", "\f", "\v", "\x1c", "\xa0"])
def test_characters_that_python_takes_for_ends_or_blanks_are_text(inside: str, tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text(f"a{inside}b c\n", encoding="utf-8")
    (line,) = read_lines(path)
    assert line.fields() == [f"a{inside}b", "c"]
    assert line.pair() == (f"a{inside}b", "c")


def test_marks_inside_of_joined_files_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes(b"\xef\xbb\xbfone\n\xef\xbb\xbftwo\n")
    assert [line.text for line in read_lines(path)] == ["one", "two"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"one\rtwo\r\nJos\xe9\n", r"list\.txt:3: not UTF-8 \(byte 12\)\. Save the file as UTF-8; .*iconv -f LATIN1"),
        (b"o\0n\0e\0\n\0", r"list\.txt:1: holds the character NUL, so it is no text, or UTF-16 without"),
        (codecs.BOM_UTF16_LE + b"a\0b", r"list\.txt: begins as UTF-16-LE, but is not \(byte 4\)"),
    ],
)  # fmt: skip
def test_what_is_no_text_is_named(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(content)
    with pytest.raises(ManifestError, match=message):
        read_lines(path, error=ManifestError)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "absent", tmp_path, tmp_path / ("x" * 300), tmp_path / "nul\0"):
        with pytest.raises(DataError, match=r"cannot be read \("):
            read_text(path)


def test_csv_rows_have_as_many_values_as_columns(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('\ufeffname,said\nx,"one, ""two""\nthree"\n\ny,\n', encoding="utf-8")
    assert read_csv(path) == (
        ["name", "said"],
        [(2, {"name": "x", "said": 'one, "two"\nthree'}), (5, {"name": "y", "said": ""})],
    )
    for content, message in (
        ("name,said\nx\n", r"a\.csv:2: 1 value, but the first line names 2 columns \(name, said\)"),
        ("name,said\nx,y,z\n", r"a\.csv:2: 3 values"),
        ("name,name\n", r"a\.csv:1: the header names 'name' twice"),
        ("", r"a\.csv:1: no header"),
        ('name,said\nx,"y\n', r"a\.csv:2: not a CSV file \(unexpected end of data\)"),
    ):
        path.write_text(content)
        with pytest.raises(DataError, match=message):
            read_csv(path)


@given(st.lists(st.text(st.characters(exclude_characters="\r\n\0")), min_size=1))
def test_quoted_values_between_tabs_come_back(values: list[str]) -> None:
    assert split_tabs("\t".join('"' + value.replace('"', '""') + '"' for value in values)) == values


def test_quotes_count_around_whole_values_only() -> None:
    assert split_tabs('no "q"\t"a ""b"""\t"\t"x" y\t""') == ['no "q"', 'a "b"', '"', '"x" y', ""]
    assert split_tabs('a\t"b\tc"\t') == ["a", "b\tc", ""]


def test_numbers_are_plain_decimals() -> None:
    assert [number(text) for text in ("1", "-1.5", ".5", "1e3", " 2 ")] == [1.0, -1.5, 0.5, 1000.0, 2.0]
    for text in ("", "nan", "inf", "1_0", "1,5", "\u0661", "1e999", "0x1", "one"):
        assert number(text) != number(text)


@pytest.mark.parametrize(
    ("n", "words", "expected"),
    [
        (0, ("thread",), "0 threads"),
        (1, ("thread",), "1 thread"),
        (2, ("thread",), "2 threads"),
        (1, ("file is damaged", "files are damaged"), "1 file is damaged"),
        (3, ("file is damaged", "files are damaged"), "3 files are damaged"),
    ],
)
def test_the_noun_follows_its_number(n: int, words: tuple[str, ...], expected: str) -> None:
    assert counted(n, *words) == expected


def test_short_lists_are_whole() -> None:
    assert first_few([]) == ""
    assert first_few(["a", 2, Path("c")]) == "a, 2, c"
    assert first_few("abcde") == "a, b, c, d, e"


def test_of_long_ones_the_rest_is_counted() -> None:
    assert first_few("abcdef") == "a, b, c, d, e and 1 more"
    assert first_few(iter("abcd"), most=2, separator="; ", more=", and {} more are") == "a; b, and 2 more are"


@given(TEXTS)
def test_one_line(text: str) -> None:
    found = escape.one_line(text)
    assert len(f"a{found}a".splitlines()) == 1
    assert not re.search("[\x00-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff]", found)
    assert escape.one_line(found) == found
    assert len(found) <= len(text)
    found.encode()


@given(st.text(alphabet=st.characters(exclude_categories=("C", "Zl", "Zp"))))
def test_what_is_shown_anyway_stays(text: str) -> None:
    assert escape.one_line(text) == text
    assert escape.xml(text) == text


@given(TEXTS)
def test_markdown_says_the_text_and_nothing_else(text: str) -> None:
    found = escape.markdown(text)
    assert re.sub(r"\\([\\`*\[\]~])", r"\1", html.unescape(found)) == escape.one_line(text)
    rest = re.sub(r"\\[\\`*\[\]~]|&(amp|lt|gt);", "", found)
    assert not set(rest) & set("\\`*[]~<>&\n\r")
    cell = escape.markdown_cell(text)
    assert re.sub(r"\\([\\`*|\[\]~])", r"\1", html.unescape(cell)) == escape.one_line(text)
    assert "|" not in re.sub(r"\\[\\`*|\[\]~]", "", cell)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<img src=x onerror=alert(1)>", "&lt;img src=x onerror=alert(1)&gt;"),
        ("a|b\nc", r"a\|b c"),
        ("`rm`", r"\`rm\`"),
        ("[x](javascript:y)", r"\[x\](javascript:y)"),
        ("&lt;", "&amp;lt;"),
        ("random_groups (k=4)", "random_groups (k=4)"),
    ],
)
def test_markdown_of(text: str, expected: str) -> None:
    assert escape.markdown_cell(text) == expected


@given(TEXTS)
def test_no_spreadsheet_computes_a_text(text: str) -> None:
    found = escape.spreadsheet(text)
    assert found in (text, f"'{text}")
    assert not found.startswith(("=", "+", "-", "@", "\t", "\r"))
    file = io.StringIO(newline="")
    csv.writer(file).writerow([found, 1])
    assert next(csv.reader(io.StringIO(file.getvalue(), newline="")), ["", "1"]) == [found, "1"]


@given(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False))
def test_numbers_stay_numbers(value: object) -> None:
    assert escape.spreadsheet(value) is value


@given(TEXTS)
def test_every_text_can_stand_in_xml(text: str) -> None:
    found = escape.xml(text)
    element = ElementTree.Element("a", name=found)
    element.text = found
    read = ElementTree.fromstring(ElementTree.tostring(element))
    ends = found.replace("\r\n", "\n").replace("\r", "\n")
    assert (read.text or "") == ends
    assert len(found) == len(text)


@given(TEXTS)
def test_latex_prints_every_character(text: str) -> None:
    found = latex.escape(text)
    back = {value: key for key, value in latex._SPECIAL.items()}
    commands = "|".join(re.escape(one) for one in sorted(back, key=len, reverse=True))
    if "--" not in text:  # which prints as the dash that an absent value is
        assert re.sub(commands, lambda one: back[one.group()], found) == escape.one_line(text)
    rest = re.sub(commands, "", found)
    assert not set(rest) & set("\\&%$#_{}~^<>|[]*\n\r\0")
