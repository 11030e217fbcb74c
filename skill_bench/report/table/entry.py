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
    before, versions = record.key.task_version, _versions(record.key.task)
    if versions is None or before >= versions[0]:
        return None
    current, scored_since = versions
    return f"stale: task {record.key.task!r} was version {before} and is now {current}; " + (
        "run skill-bench rescore on the record, or run that cell again"
        if before >= scored_since
        else "run that cell again"
    )


def _versions(task: str) -> tuple[int, int] | None:
    """The task's version, and the oldest one whose records can be rescored."""
    try:
        found = read_toml(catalog.entry("tasks", task))
    except SkillBenchError:  # not in the catalog, or there is none
        return None
    current = found.get("version")
    since = found.get("predictions_since", current)
    return (current, since) if isinstance(current, int) and isinstance(since, int) else None
