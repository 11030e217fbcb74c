"""Finds records and profiles below a folder; what cannot be trusted is named, never passed over."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from skill_bench.efficiency import Profile
from skill_bench.errors import RecordError
from skill_bench.record import Record
from skill_bench.schema import read_object


@dataclass(frozen=True, kw_only=True)
class Collection:
    """What one folder holds. ``origin`` tells a user's run from records that came with the package.

    ``folder`` is where they are, so that ``record.path(folder)`` is a record's file; None for records made in memory.
    """

    origin: str
    folder: Path | None = None
    records: tuple[Record, ...]
    profiles: tuple[Profile, ...]
    problems: tuple[str, ...] = ()


def collect(folder: Path, *, origin: str = "run") -> Collection:
    """Every ``<suite>/<upstream>/*.json`` below ``folder``; a damaged file is one of the ``problems``.

    Raises:
        RecordError: ``folder`` does not exist.
    """
    if not folder.is_dir():
        raise RecordError(f"{folder}: no such folder. Run `skill-bench run --out {folder}` first, or check the path.")
    records, profiles, problems = [], [], []
    for path in sorted(folder.glob("*/*/*.json")):
        try:
            content = read_object(path)
            if content.get("kind") == "profile":
                profiles.append(Profile.parse(content, source=str(path)))
            else:
                records.append(Record.parse(content, source=str(path)))
        except RecordError as error:
            problems.append(str(error))
    return Collection(
        origin=origin, folder=folder, records=tuple(records), profiles=tuple(profiles), problems=tuple(problems)
    )
