"""Manifests: tab-separated lists of speech.

The format. Text as `skill_bench.base.text` reads it; one line an utterance; columns separated by one tab; the first
line names the columns. Values stand as they are, except that one which is quoted as a whole, as spreadsheets and pandas
write it, loses its quotes; none holds a line break. Blank lines are ignored.

- ``path`` (required): the audio file, relative to the audio root, which is the manifest's folder unless a suite says
  otherwise. It may not leave that root.
- ``id``: unique; default the path.
- ``speaker``, ``seconds`` (a positive number): used where present.
- any other column can be a target, a split or a filter, see `skill_bench.corpora.load`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from skill_bench.base.counted import counted
from skill_bench.base.errors import ManifestError, suggest
from skill_bench.base.text import check_head, is_file, number, read_text, split_lines, split_tabs


@dataclass(frozen=True, kw_only=True)
class ManifestLine:
    """One line.

    Attributes:
        source: ``manifest.tsv:17``, for messages.
        values: By column.
    """

    source: str
    values: dict[str, str]

    @property
    def id(self) -> str:
        """The ``id`` column, else the path."""
        return self.values.get("id") or self.values["path"]

    @property
    def seconds(self) -> float | None:
        """The ``seconds`` column, checked when the manifest was read; None if absent or empty."""
        text = self.values.get("seconds", "")
        return number(text) if text else None

    def audio_path(self, root: Path) -> Path:
        """The audio file under ``root``."""
        return root / self.values["path"]


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A manifest that was read and found sound."""

    path: Path
    columns: tuple[str, ...]
    rows: tuple[ManifestLine, ...]

    def require(self, columns: Iterable[str], *, purpose: str) -> None:
        """Checks that columns exist.

        Raises:
            ManifestError: names the missing column, its purpose, the nearest one and all that exist.
        """
        for column in columns:
            if column not in self.columns:
                raise ManifestError(
                    f"{self.path}: no column {column!r} ({purpose}). {suggest(column, self.columns)}"
                    f"Its columns are: {', '.join(self.columns)}."
                )


def read_manifest(path: Path) -> Manifest:
    """Reads and checks a manifest.

    Raises:
        ManifestError: no such file, not UTF-8, no or a faulty header, a line of another length, an empty, absolute or
            escaping path, a duration that is not a positive number, an id that occurs twice; names file and line.
    """
    if not is_file(path):
        raise ManifestError(
            f"{path}: no such manifest. Expected a tab-separated file with a header line and a column 'path'."
        )
    lines = split_lines(read_text(path, error=ManifestError))
    if not lines or lines[0].is_blank:
        raise ManifestError(f"{path}:1: no header. The first line names the columns, separated by tabs: path, ...")
    columns = tuple(split_tabs(lines[0].text))
    _check_header(path, columns)
    rows: list[ManifestLine] = []
    first_seen: dict[str, str] = {}
    for at, line in lines[1:]:
        if not line.strip():
            continue
        row = _row(path, at, columns, line)
        if row.id in first_seen:
            raise ManifestError(
                f"{path}:{at}: the id {row.id!r} occurs already at {first_seen[row.id]}. Remove one of the lines, "
                "or add a column 'id' with unique values."
            )
        first_seen[row.id] = row.source
        rows.append(row)
    if not rows:
        raise ManifestError(f"{path}: has a header but no utterances.")
    return Manifest(path=path, columns=columns, rows=tuple(rows))


def _check_header(path: Path, columns: tuple[str, ...]) -> None:
    check_head(columns, path, error=ManifestError)
    if "path" not in columns:
        hint = "Separate the columns by tabs. " if len(columns) == 1 else suggest("path", columns)
        raise ManifestError(f"{path}:1: no column 'path' in the header. {hint}Found: {', '.join(columns)}.")


def _row(path: Path, at: int, columns: tuple[str, ...], line: str) -> ManifestLine:
    values = split_tabs(line)
    if len(values) != len(columns):
        raise ManifestError(
            f"{path}:{at}: {counted(len(values), 'value')}, but the header names {counted(len(columns), 'column')} "
            f"({', '.join(columns)}). Values are separated by one tab and hold none."
        )
    row = ManifestLine(source=f"{path.name}:{at}", values=dict(zip(columns, values, strict=True)))
    audio = row.values["path"]
    if not audio.strip():
        raise ManifestError(f"{path}:{at}: the path is empty.")
    if escapes(audio):
        raise ManifestError(
            f"{path}:{at}: the path {audio!r} leaves the audio root. Give paths relative to it, and set the root "
            "with audio_root in suite.toml."
        )
    seconds = row.values.get("seconds", "")
    if seconds and not number(seconds) > 0:
        raise ManifestError(f"{path}:{at}: seconds is {seconds!r}; expected a positive number.")
    return row


def escapes(path: str) -> bool:
    """Whether a relative path leaves the folder that it is relative to, by itself (links are not followed)."""
    pure = PurePosixPath(path.replace("\\", "/"))
    if pure.is_absolute() or Path(path).is_absolute() or "\0" in path:
        return True
    depth = 0
    for part in pure.parts:
        depth += -1 if part == ".." else 1
        if depth < 0:
            return True
    return False
