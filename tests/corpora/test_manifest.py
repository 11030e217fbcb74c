"""The manifest format and its errors, each with file and line."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skill_bench.base.errors import ManifestError
from skill_bench.corpora.described.manifest import escapes, read_manifest

GOOD = 'path\tseconds\tspeaker\tword\na.wav\t1.5\ts1\tyes\nb/c.wav\t\ts2\tno "quoted"\n'


def write(tmp_path: Path, content: str | bytes) -> Path:
    path = tmp_path / "manifest.tsv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_values_stand_as_they_are(tmp_path: Path) -> None:
    manifest = read_manifest(write(tmp_path, GOOD))
    first, second = manifest.rows
    assert manifest.columns == ("path", "seconds", "speaker", "word")
    assert (first.id, first.seconds, first.source) == ("a.wav", 1.5, "manifest.tsv:2")
    assert (second.id, second.seconds, second.source) == ("b/c.wav", None, "manifest.tsv:3")
    assert second.values["word"] == 'no "quoted"'
    assert second.audio_path(Path("/root")) == Path("/root/b/c.wav")


@pytest.mark.parametrize("content", [GOOD.replace("\n", "\r\n"), "\ufeff" + GOOD, GOOD + "\n\n", GOOD.rstrip("\n")])
def test_line_ends_byte_order_mark_and_blank_lines_do_not_matter(content: str, tmp_path: Path) -> None:
    plain = [row.values for row in read_manifest(write(tmp_path, GOOD)).rows]
    assert [row.values for row in read_manifest(write(tmp_path, content)).rows] == plain


def test_an_id_column_is_the_id(tmp_path: Path) -> None:
    manifest = read_manifest(write(tmp_path, "id\tpath\nx\ta.wav\ny\ta.wav\n"))
    assert [row.id for row in manifest.rows] == ["x", "y"]


@pytest.mark.parametrize(
    ("content", "where", "expected"),
    [
        ("", ":1", "no header"),
        (
            "path,word\na.wav,yes\n",
            ":1",
            "no column 'path' in the header. Separate the columns by tabs. Found: path,word.",
        ),
        ("paht\tword\na.wav\tyes\n", ":1", "no column 'path' in the header. Did you mean 'paht'? Found: paht, word."),
        ("path\tword\tword\n", ":1", "the header names 'word' twice"),
        ("path\tword\n", "", "has a header but no utterances"),
        ("path\tword\na.wav\tyes\nb.wav\n", ":3", "1 value, but the header names 2 columns (path, word)"),
        ("path\tword\na.wav\tyes\tno\n", ":2", "3 values, but the header names 2 columns"),
        ("path\tword\n\tyes\n", ":2", "the path is empty"),
        ("path\n../secret.wav\n", ":2", "the path '../secret.wav' leaves the audio root"),
        ("path\na/../../b.wav\n", ":2", "the path 'a/../../b.wav' leaves the audio root"),
        ("path\n/etc/passwd\n", ":2", "the path '/etc/passwd' leaves the audio root"),
        ("path\tseconds\na.wav\tlong\n", ":2", "seconds is 'long'; expected a positive number"),
        ("path\tseconds\na.wav\t-1\n", ":2", "seconds is '-1'; expected a positive number"),
        ("path\tseconds\na.wav\tnan\n", ":2", "seconds is 'nan'; expected a positive number"),
        ("path\na.wav\nb.wav\na.wav\n", ":4", "the id 'a.wav' occurs already at manifest.tsv:2"),
        (b"path\tword\na.wav\tyes\nb.wav\t\xff\n", ":3", "not UTF-8 (byte 26). Save the file as UTF-8"),
    ],
)
def test_a_fault_is_named_with_its_line(content: str | bytes, where: str, expected: str, tmp_path: Path) -> None:
    path = write(tmp_path, content)
    with pytest.raises(ManifestError) as raised:
        read_manifest(path)
    assert str(raised.value).startswith(f"{path}{where}: ")
    assert expected in str(raised.value)


def test_a_missing_manifest_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"no such manifest\. Expected a tab-separated file"):
        read_manifest(tmp_path / "manifest.tsv")


def test_a_missing_column_suggests_the_nearest(tmp_path: Path) -> None:
    manifest = read_manifest(write(tmp_path, GOOD))
    with pytest.raises(ManifestError) as raised:
        manifest.require(["path", "speakr"], purpose="speaker")
    assert str(raised.value) == (
        f"{manifest.path}: no column 'speakr' (speaker). Did you mean 'speaker'? "
        "Its columns are: path, seconds, speaker, word."
    )


@settings(deadline=None)
@given(st.lists(st.sampled_from(["a", "b", "..", ".", "c.wav"]), min_size=1, max_size=6))
def test_a_path_escapes_exactly_when_some_prefix_of_it_does(parts: list[str]) -> None:
    depths = [0]
    for part in PurePosixPath("/".join(parts)).parts:
        depths.append(depths[-1] + (-1 if part == ".." else 1))
    assert escapes("/".join(parts)) == (min(depths) < 0)
