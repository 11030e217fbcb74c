"""What readers of official layouts share: lines of a list, files below a folder, what is missing."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from skill_bench.base.errors import DataError, first_few
from skill_bench.base.text import Line, is_file, read_lines
from skill_bench.corpora.described.manifest import escapes


def lines_of(path: Path) -> list[Line]:
    """The lines of a text file that are not blank, with their numbers.

    Raises:
        DataError: no such file, or not text; see `skill_bench.base.text`.
    """
    if not is_file(path):
        raise DataError(f"{path}: no such file; the corpus is incomplete.")
    return read_lines(path)


def pairs_of(path: Path, *, expected: str) -> dict[str, tuple[str, int]]:
    """The rest of each line, and its number, by the line's first field.

    Raises:
        DataError: a line of one field, or two that say different things of one name.
    """
    pairs: dict[str, tuple[str, int]] = {}
    for line in lines_of(path):
        name, rest = line.pair()
        if not rest:
            raise DataError(f"{path}:{line.number}: found {line.text!r}; expected {expected}.")
        before, first = pairs.setdefault(name, (rest, line.number))
        if before != rest:
            raise DataError(f"{path}:{line.number}: {name!r} stands already on line {first}, with another value.")
    return pairs


def listed(folder: Path, name: str, *, where: str) -> Path:
    """The file below a folder that a list names.

    Raises:
        DataError: the name leaves the folder.
    """
    if escapes(name):
        raise DataError(f"{where}: the path {name!r} leaves {folder}. Download the list again.")
    return folder / name


def audio_below(folder: Path, pattern: str) -> list[Path]:
    """The files of a folder that match, sorted; not the hidden ones that archives made on a Mac hold.

    Raises:
        DataError: no such folder, or none matches.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; the corpus is incomplete.")
    found = sorted(path for path in folder.glob(pattern) if path.is_file() and not path.name.startswith("."))
    if not found:
        raise DataError(f"{folder}: holds no {pattern}; the corpus is incomplete.")
    return found


def all_present(paths: Iterable[Path], *, named_by: Path) -> None:
    """Checks that files which a list names are there.

    Raises:
        DataError: counts the missing ones and names the first.
    """
    wanted = list(paths)
    missing = [path for path in wanted if not is_file(path)]
    if missing:
        raise DataError(
            f"{named_by}: {len(missing)} of {len(wanted)} files that it names are missing: {first_few(missing)}."
        )
