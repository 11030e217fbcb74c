"""A record with where it was found."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

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
