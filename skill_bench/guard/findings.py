"""What a check found: one finding for each task and cost, and the verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["passed", "failed", "error"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was checked.

    Attributes:
        name: A task, ``all tasks``, ``parameters``, ``MACs`` or ``throughput``.
        status: ``error`` where it could not be checked, which fails the check too.
        before, now: The numbers as text, with units.
        message: A sentence for whoever has to act on it.
    """

    name: str
    status: Status
    before: str
    now: str
    message: str


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """All findings, and by which rules they were judged."""

    title: str
    rules: str
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether nothing failed and everything could be checked."""
        return all(finding.status == "passed" for finding in self.findings)

    @property
    def problems(self) -> tuple[Finding, ...]:
        """Those that did not pass."""
        return tuple(finding for finding in self.findings if finding.status != "passed")
