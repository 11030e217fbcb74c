"""Finds records and profiles below a folder; what cannot be trusted is named, never passed over."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from skill_bench.base.documents import read_object
from skill_bench.base.errors import RecordError
from skill_bench.records.profile import Profile
from skill_bench.records.record import Key, Record
from skill_bench.report.table.entry import FoundRecord


@dataclass(frozen=True, kw_only=True)
class Collection:
    """What one folder holds; ``folder`` is None for records made in memory."""

    origin: str
    folder: Path | None = None
    entries: tuple[FoundRecord, ...] = ()
    profiles: tuple[Profile, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def records(self) -> tuple[Record, ...]:
        """The entries' records."""
        return tuple(entry.record for entry in self.entries)

    def where(self, wanted: Callable[[Record], bool]) -> Collection:
        """The same with the wanted records alone."""
        return replace(self, entries=tuple(entry for entry in self.entries if wanted(entry.record)))


def collect(folder: Path, *, origin: str = "run") -> Collection:
    """Every ``<suite>/<upstream>/*.json`` below ``folder``.

    A damaged file, and all but one of several records of one cell, are among the ``problems``.

    Raises:
        RecordError: ``folder`` does not exist.
    """
    if not folder.is_dir():
        raise RecordError(
            f"{folder}: no such folder of records. Check the path; `skill-bench run` and `evidence run` make them."
        )
    entries, profiles, problems = [], [], []
    for path in sorted(folder.glob("*/*/*.json")):
        try:
            content = read_object(path)
            if content.get("kind") == "profile":
                profiles.append(Profile.parse(content, source=str(path)))
            else:
                entries.append(FoundRecord(record=Record.parse(content, source=str(path)), file=path, origin=origin))
        except RecordError as error:
            problems.append(str(error))
    kept, doubled = _one_per_cell(entries, folder)
    return Collection(
        origin=origin, folder=folder, entries=tuple(kept), profiles=tuple(profiles), problems=(*problems, *doubled)
    )


def _one_per_cell(entries: list[FoundRecord], folder: Path) -> tuple[list[FoundRecord], list[str]]:
    """Entries without doubles, and a problem for each cell that had several.

    The record that lies where its key says stays; if none does, nobody can tell which is meant, and none stays.
    """
    by_cell: dict[tuple[Key, str], list[FoundRecord]] = defaultdict(list)
    for entry in entries:
        by_cell[entry.record.key, entry.record.system.identity].append(entry)
    kept, problems = [], []
    for (key, _), found in by_cell.items():
        chosen = found if len(found) == 1 else [e for e in found if e.file == e.record.path(folder)]
        kept += chosen
        if len(found) > 1:
            files = ", ".join(str(entry.file) for entry in found)
            what = f"uses {chosen[0].file}, which lies where its key says" if chosen else "uses none of them"
            problems.append(
                f"{key.upstream} on {key.task}, seed {key.seed}: {len(found)} records for one cell ({files}); the "
                f"table {what}. Keep one of them."
            )
    return kept, problems
