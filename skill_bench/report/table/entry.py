"""A record with where it was found, and whether it was made by an older version of its task."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from skill_bench.base import catalog
from skill_bench.base.errors import SkillBenchError
from skill_bench.base.specs import read_toml
from skill_bench.records.record import Record


@dataclass(frozen=True, kw_only=True)
class FoundRecord:
    """A record and its file. ``origin`` tells a user's run from records that came with the package."""

    record: Record
    file: Path | None = None
    origin: str = "run"


def newest(entries: Iterable[FoundRecord]) -> Record:
    """The record that was begun last."""
    return max((entry.record for entry in entries), key=lambda record: record.provenance.started_at)


def staleness(record: Record) -> str | None:
    """What is wrong with the record's version, or None; a task that is not in the catalog is nobody's to judge."""
    current = _current_version(record.key.task)
    if current is None or record.key.task_version >= current:
        return None
    return (
        f"stale: task {record.key.task!r} was version {record.key.task_version} and is now {current}; run "
        "skill-bench rescore on the record, or run that cell again"
    )


def _current_version(task: str) -> int | None:
    try:
        found = read_toml(catalog.entry("tasks", task)).get("version")
    except SkillBenchError:  # not in the catalog, or there is none
        return None
    return found if isinstance(found, int) else None
