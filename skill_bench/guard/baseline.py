"""What a check is made against: a folder of records with their predictions, and ``baseline.json``.

Layout::

    <folder>/baseline.json                          this document
    <folder>/<suite>/<upstream>/<task>-s<seed>.json the records, as `skill-bench run` leaves them
    <folder>/<suite>/<upstream>/*.predictions.jsonl their predictions

It is small text, made to be committed beside the code that it guards; packed into an archive it serves as well.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from skill_bench.base.archive import find
from skill_bench.base.catalog import DEFAULT_SUITE
from skill_bench.base.documents import Document
from skill_bench.base.errors import UsageError
from skill_bench.base.provenance import Provenance
from skill_bench.base.specs import Frozen
from skill_bench.records.record import DEFAULT_PROTOCOL

FILE = "baseline.json"


class Settings(Frozen):
    """What is run, the same for the baseline and every check."""

    upstream: str
    suite: str
    protocol: str = DEFAULT_PROTOCOL
    tasks: tuple[str, ...]
    seeds: tuple[int, ...]
    limit: int | None = None


def settings_of(
    folder: Path,
    *,
    upstream: str | None,
    suite: str | None,
    tasks: tuple[str, ...],
    seeds: tuple[int, ...],
    limit: int | None,
) -> Settings:
    """Of a new baseline in ``folder``; what is not given is as in the one that it replaces.

    Raises:
        UsageError: no upstream is given, and there is no earlier baseline.
    """
    known = read_baseline(folder).settings if (folder / FILE).is_file() else None
    if (name := upstream or (known.upstream if known else None)) is None:
        raise UsageError("a new baseline needs --upstream NAME.")
    return Settings(
        upstream=name,
        suite=suite or (known.suite if known else DEFAULT_SUITE),
        tasks=tasks or (known.tasks if known else ("ks",)),
        seeds=seeds,
        limit=limit if limit is not None or known is None else known.limit,
    )


def require_settings(folder: Path, *, suite: str | None, limit: int | None) -> None:
    """Checks that the baseline in ``folder`` was made so; None fits any.

    Raises:
        UsageError: it was not, or there is none.
    """
    stored = read_baseline(folder).settings
    if suite not in (None, stored.suite) or limit not in (None, stored.limit):
        raise UsageError(
            f"{folder} was made on suite {stored.suite!r} with limit {stored.limit}. Leave --suite and --limit out, "
            "or make a new baseline with --update."
        )


class Costs(Frozen):
    """Exact counts, and throughput as a multiple of the reference model's, timed in the same process.

    A part that cannot be measured is None.
    """

    parameters: int | None
    macs: int | None
    throughput_ratio: float | None
    reference: str


class Change(Frozen):
    """An earlier baseline: why it was made, and of which model."""

    reason: str
    made_at: str
    identity: str


class Baseline(Document):
    """What was measured when ``reason`` was true."""

    kind: Literal["baseline"] = "baseline"
    settings: Settings
    identity: str
    costs: Costs
    reason: Annotated[str, Field(min_length=1)]
    history: tuple[Change, ...] = ()
    provenance: Provenance

    def as_change(self) -> Change:
        """This baseline as a line of its successor's history."""
        return Change(reason=self.reason, made_at=self.provenance.started_at, identity=self.identity)


def read_baseline(folder: Path) -> Baseline:
    """The baseline in ``folder``.

    Raises:
        UsageError: there is none; says how to make one.
        RecordError: it is damaged or was edited.
    """
    path = find(folder, FILE)
    if path is None:
        raise UsageError(
            f"{folder} holds no {FILE}. Make a baseline from the version you trust: "
            f"skill-bench check --against {folder} --upstream NAME --suite demo --tasks ks --update --reason 'first'"
        )
    return Baseline.read(path)
