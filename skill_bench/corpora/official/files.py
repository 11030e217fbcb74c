"""What readers of official layouts share: lines of a list, files below a folder, what is missing."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from skill_bench.base.errors import DataError
from skill_bench.base.first_few import first_few


def lines_of(path: Path) -> list[str]:
    """The lines of a text file that are not blank.

    Raises:
        DataError: no such file, or not UTF-8.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; the corpus is incomplete.")
    try:
        return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 ({error}). Copy or download it again.") from error


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
    missing = [path for path in wanted if not path.is_file()]
    if missing:
        raise DataError(
            f"{named_by}: {len(missing)} of {len(wanted)} files that it names are missing: {first_few(missing)}."
        )
