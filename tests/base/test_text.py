"""The reader of all text: any encoding with a mark, any line end, nothing skipped; file and line in every error."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skill_bench.base.errors import DataError, ManifestError
from skill_bench.base.text import number, read_csv, read_lines, read_text, split_lines, split_tabs

ENCODINGS = {
    "utf-8": b"", "utf-8-sig": b"", "utf-16-le": codecs.BOM_UTF16_LE, "utf-16-be": codecs.BOM_UTF16_BE,
    "utf-32-le": codecs.BOM_UTF32_LE, "utf-32-be": codecs.BOM_UTF32_BE,
}  # fmt: skip
LINE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0")).filter(
    lambda line: not line.startswith("\ufeff")
)


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
