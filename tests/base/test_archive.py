"""Archives read as folders: same names, same bytes; whatever leads out of one, or is damaged, is refused by name."""

from __future__ import annotations

import contextlib
import io
import stat
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skill_bench.base import archive
from skill_bench.base.archive import files, find, inside, packed, read_bytes
from skill_bench.base.errors import RecordError

FILES = {"demo/skill/ks-s0.json": b"{}\n", "demo/skill/b.jsonl": b"abc" * 900, "similarity.json": b'{"a": 1}'}


def written(path: Path, contents: dict[str, bytes]) -> Path:
    path.write_bytes(packed(contents))
    return path


def by_hand(path: Path, *entries: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as writer:
        for name, content in entries:
            writer.writestr(name, content)
    return path


def test_an_archive_has_the_files_of_its_folder(tmp_path: Path) -> None:
    for name, content in FILES.items():
        (tmp_path / "folder" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "folder" / name).write_bytes(content)
    place = written(tmp_path / "a.zip", FILES)
    for depth in (None, 1, 3):
        assert list(files(place, depth=depth)) == list(files(tmp_path / "folder", depth=depth))
    assert list(files(place, depth=3)) == ["demo/skill/b.jsonl", "demo/skill/ks-s0.json"]
    assert {name: read_bytes(path) for name, path in files(place).items()} == FILES
    assert files(place)["similarity.json"] == place / "similarity.json"
    assert inside(place / "demo/skill/b.jsonl") == (place, "demo/skill/b.jsonl")
    assert inside(tmp_path / "folder" / "similarity.json") is None


def test_the_same_contents_give_the_same_bytes(tmp_path: Path) -> None:
    assert packed(FILES) == packed(dict(reversed(FILES.items())))
    assert packed(FILES) != packed(FILES | {"similarity.json": b"{}"})
    with zipfile.ZipFile(written(tmp_path / "a.zip", FILES)) as reader:
        assert reader.namelist() == sorted(FILES)
        assert {entry.date_time for entry in reader.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert reader.getinfo("demo/skill/b.jsonl").compress_size < 100


def test_a_folder_stands_before_its_archives(tmp_path: Path) -> None:
    written(tmp_path / "a.zip", {"x.json": b"a", "y.json": b"a"})
    written(tmp_path / "b.zip", {"y.json": b"b", "z.json": b"b"})
    (tmp_path / "x.json").write_bytes(b"own")
    found = files(tmp_path)
    assert {n: read_bytes(p) for n, p in found.items() if n.endswith("json")} == {
        "x.json": b"own",
        "y.json": b"a",
        "z.json": b"b",
    }
    assert all(find(tmp_path, name) == path for name, path in found.items())
    assert find(tmp_path, "w.json") is None
    assert find(tmp_path / "none", "x.json") is None
    assert find(tmp_path / "a.zip", "y.json") == tmp_path / "a.zip" / "y.json"
    assert find(tmp_path / "a.zip", "z.json") is None


def test_a_replaced_archive_is_read_anew(tmp_path: Path) -> None:
    place = written(tmp_path / "a.zip", {"x.json": b"old"})
    assert read_bytes(place / "x.json") == b"old"
    written(place, {"x.json": b"newer"})
    assert read_bytes(place / "x.json") == b"newer"


def test_a_missing_file_is_missed_as_in_a_folder(tmp_path: Path) -> None:
    place = written(tmp_path / "a.zip", FILES)
    with pytest.raises(FileNotFoundError, match=r"a\.zip/demo/gone\.json"):
        read_bytes(place / "demo" / "gone.json")


@pytest.mark.parametrize(
    "name", ["../out.json", "/etc/out.json", "demo/../../out.json", "a\\b.json", "C:out.json", "a//b.json", "./a.json"]
)
def test_names_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    entry = zipfile.ZipInfo("x.json")
    entry.filename = name
    place = by_hand(tmp_path / "a.zip", (entry, b"{}"))
    with pytest.raises(RecordError, match=r"a\.zip: .* is not a name inside an archive: it may lead elsewhere\. Rest"):
        files(place)


def test_links_and_repeated_names_are_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("x.json")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with pytest.raises(RecordError, match=r"'x\.json' is a link, expected a file"):
        files(by_hand(tmp_path / "a.zip", (link, b"/etc/passwd")))
    with pytest.warns(UserWarning, match="Duplicate"):
        twice = by_hand(tmp_path / "b.zip", ("x.json", b"1"), ("x.json", b"2"))
    with pytest.raises(RecordError, match=r"b\.zip: holds several files of one name"):
        files(twice)


def test_other_compressions_and_encryption_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"compressed by method 12, expected one of \(0, 8\)"):
        files(by_hand(tmp_path / "a.zip", ("x.json", b"{}"), method=zipfile.ZIP_BZIP2))
    data = bytearray(packed({"x.json": b"{}"}))
    data[data.index(b"PK\1\2") + 8] |= 1
    (tmp_path / "b.zip").write_bytes(data)
    with pytest.raises(RecordError, match=r"'x\.json' is encrypted"):
        files(tmp_path / "b.zip")


def test_what_unpacks_to_too_much_is_refused_before_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = written(tmp_path / "a.zip", {"x.json": bytes(2000), "y.json": bytes(2000)})
    monkeypatch.setattr(archive, "LARGEST_FILE_BYTES", 1999)
    with pytest.raises(RecordError, match=r"'x\.json' unpacks to 2000 bytes, at most 1999 are read"):
        files(place)
    monkeypatch.setattr(archive, "LARGEST_FILE_BYTES", 2000)
    monkeypatch.setattr(archive, "LARGEST_ARCHIVE_BYTES", 3999)
    with pytest.raises(RecordError, match="says that it unpacks to 4000 bytes, at most 3999 are read"):
        files(place)
    monkeypatch.setattr(archive, "LARGEST_ARCHIVE_BYTES", 4000)
    assert len(files(place)) == 2


def test_a_size_that_lies_is_no_way_around(tmp_path: Path) -> None:
    data = packed({"x.json": bytes(5000)})
    size = (5000).to_bytes(4, "little")
    assert data.count(size) == 2, "in the file's own header and in the archive's directory"
    (tmp_path / "a.zip").write_bytes(data.replace(size, (10).to_bytes(4, "little")))
    with pytest.raises(RecordError, match=r"x\.json cannot be read"):
        read_bytes(tmp_path / "a.zip" / "x.json")


@pytest.mark.parametrize("content", [b"", b"{}", packed(FILES)[:-30], packed(FILES)[50:]])
def test_what_is_no_archive_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(RecordError, match=r"a\.zip: .*pack the folder again"):
        [read_bytes(path) for path in files(tmp_path / "a.zip").values()]


@given(position=st.integers(0, len(packed(FILES)) - 1), bit=st.integers(0, 7))
def test_one_changed_bit_never_gives_other_contents(
    tmp_path_factory: pytest.TempPathFactory, position: int, bit: int
) -> None:
    data = bytearray(packed(FILES))
    data[position] ^= 1 << bit
    path = tmp_path_factory.mktemp("bit") / "a.zip"
    path.write_bytes(data)
    found: list[bytes] = []
    with contextlib.suppress(RecordError):
        found = [read_bytes(one) for one in files(path).values()]
    assert set(found) <= set(FILES.values())


def test_an_empty_archive_is_an_archive() -> None:
    with zipfile.ZipFile(io.BytesIO(packed({}))) as reader:
        assert reader.namelist() == []
