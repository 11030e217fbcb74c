"""Any text inside other formats: shown as it is, never obeyed."""

from __future__ import annotations

import csv
import html
import io
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skill_bench.base import escape
from skill_bench.report.render import latex

SPICY = st.text(
    alphabet="ab\\`*|[]~<>&;#=+-@\t\r\n\v\f\0\x1b\x1c\x85\u2028\u202e\ud800\ufffe$_^{}%'\"é😀 ", max_size=12
)
TEXTS = SPICY | st.text(max_size=12)


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
