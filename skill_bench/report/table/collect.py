"""Finds records, profiles and fidelity in a folder or archive; what cannot be trusted is named, never passed over."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from skill_bench.base.archive import files, is_place
from skill_bench.base.documents import read_object
from skill_bench.base.errors import RecordError, UsageError
from skill_bench.records.fidelity import Fidelity
from skill_bench.records.profile import Profile
from skill_bench.records.record import REPLACED, Key, Record, record_path, safe_name
from skill_bench.report.table.entry import FoundRecord

_DEPTH = 3
"""Names of a record's path below its folder: suite, upstream, file."""


@dataclass(frozen=True, kw_only=True)
class Collection:
    """What one folder or archive holds; ``folder`` is None for records made in memory."""

    origin: str
    folder: Path | None = None
    entries: tuple[FoundRecord, ...] = ()
    profiles: tuple[Profile, ...] = ()
    fidelity: tuple[Fidelity, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def records(self) -> tuple[Record, ...]:
        """The entries' records."""
        return tuple(entry.record for entry in self.entries)

    def where(self, wanted: Callable[[Record], bool]) -> Collection:
        """The same with the wanted records alone."""
        return replace(self, entries=tuple(entry for entry in self.entries if wanted(entry.record)))


def joined(found: Sequence[Collection]) -> Collection:
    """Several of one origin as one.

    Raises:
        UsageError: two hold a record of one cell; names both files.
    """
    of_cell: dict[Key, FoundRecord] = {}
    for entry in (entry for one in found for entry in one.entries):
        other = of_cell.setdefault(entry.record.key, entry)
        if other is not entry:
            raise UsageError(f"{other.file} and {entry.file} are records of one cell. Take one of the two away.")
    return replace(
        found[0],
        entries=tuple(of_cell.values()),
        profiles=tuple(profile for one in found for profile in one.profiles),
        fidelity=tuple(document for one in found for document in one.fidelity),
        problems=tuple(problem for one in found for problem in one.problems),
    )


def collect(folder: Path, *, origin: str = "run", suite: str | None = None) -> Collection:
    """Every ``<suite>/<upstream>/*.json`` in ``folder``, which may be an archive or hold some.

    Args:
        suite: Reads the files of that suite alone.

    A damaged file, and all but one of several records of one cell, are among the ``problems``.

    Raises:
        RecordError: an archive cannot be trusted.
        UsageError: ``folder`` does not exist, or its records lie higher or deeper than that; says where the folder of
            records is.
    """
    if not is_place(folder):
        raise UsageError(
            f"{folder}: no such folder or archive (.zip) of records. Check the path; `skill-bench run` and "
            "`evidence run` make folders, `skill-bench results pack` makes archives."
        )
    entries, profiles, fidelity, problems = [], [], [], []
    found = files(folder, depth=_DEPTH)
    if suite is not None:
        found = {name: path for name, path in found.items() if name.startswith(f"{safe_name(suite)}/")}
    documents = [path for path in found.values() if path.suffix == ".json"]
    if not documents and suite is None:
        _not_elsewhere(folder)
    for path in documents:
        try:
            content = read_object(path)
            if content.get("kind") == "profile":
                profiles.append(Profile.parse(content, source=str(path)))
            elif content.get("kind") == "fidelity":
                fidelity.append(Fidelity.parse(content, source=str(path)))
            else:
                entries.append(FoundRecord(record=Record.parse(content, source=str(path)), file=path, origin=origin))
        except RecordError as error:
            problems.append(str(error))
    kept, doubled = _one_per_cell(entries, found)
    return Collection(
        origin=origin,
        folder=folder,
        entries=tuple(kept),
        profiles=tuple(profiles),
        fidelity=tuple(fidelity),
        problems=(*problems, *doubled),
    )


def _not_elsewhere(folder: Path) -> None:
    """Checks that a folder without records is not inside of, or around, one that has some.

    Raises:
        UsageError: it is; names the one.
    """
    for depth in (2, 1, 4, 5):
        for name, path in files(folder, depth=depth).items():
            if path.suffix == ".json" and REPLACED not in path.parts and _is_record(path):
                below = (
                    "/".join(name.split("/")[: depth - _DEPTH]) if depth > _DEPTH else "/".join([".."] * (3 - depth))
                )
                right = folder / below if depth > _DEPTH else Path(os.path.normpath(folder.absolute() / below))
                raise UsageError(
                    f"{folder}: holds no record at SUITE/UPSTREAM/TASK-sN.json, {right} does. Name that folder."
                )


def _is_record(path: Path) -> bool:
    try:
        return read_object(path).get("kind") == "record"
    except RecordError:
        return False


def _one_per_cell(entries: list[FoundRecord], files_by_name: Mapping[str, Path]) -> tuple[list[FoundRecord], list[str]]:
    """Entries without doubles, and a problem for each cell that had several.

    The record that lies where its key says stays; if none does, nobody can tell which is meant, and none stays.
    """
    by_cell: dict[tuple[Key, str], list[FoundRecord]] = defaultdict(list)
    for entry in entries:
        by_cell[entry.record.key, entry.record.system.identity].append(entry)
    kept, problems = [], []
    for (key, _), found in by_cell.items():
        own_place = files_by_name.get(record_path(Path(), key).as_posix())
        chosen = found if len(found) == 1 else [entry for entry in found if entry.file == own_place]
        kept += chosen
        if len(found) > 1:
            files = ", ".join(str(entry.file) for entry in found)
            what = f"uses {chosen[0].file}, which lies where its key says" if chosen else "uses none of them"
            problems.append(
                f"{key.upstream} on {key.task}, seed {key.seed}: {len(found)} records for one cell ({files}); the "
                f"table {what}. Keep one of them."
            )
    return kept, problems
