"""What a check found, a finding for each task and cost; as Markdown for pull requests and as JUnit XML for CI."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree

from tabulate import tabulate

from skill_bench.base import escape
from skill_bench.base.counted import counted
from skill_bench.base.documents import write_atomic
from skill_bench.base.errors import SkillBenchError

Status = Literal["passed", "failed", "error"]
_MARK = {"passed": "✅", "failed": "❌", "error": "⚠️"}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was checked.

    Attributes:
        name: A task, ``all tasks`` or ``tasks that count`` (a mean), ``parameters``, ``MACs`` or ``throughput``.
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


def to_markdown(report: CheckReport) -> str:
    """The verdict, a row a finding, the rules."""
    verdict = "passed" if report.passed else f"**{len(report.problems)} of {len(report.findings)} failed**"
    rows = [[f"{_MARK[f.status]} {f.name}", f.before, f.now, f.message] for f in report.findings]
    grid = tabulate(
        [list(map(escape.markdown_cell, row)) for row in rows],
        ["", "baseline", "now", "finding"],
        "github",
        disable_numparse=True,
    )
    notes = "".join(f"\n- {escape.markdown(note)}" for note in report.notes)
    return f"### {escape.markdown(report.title)}: {verdict}\n\n{grid}\n\n{report.rules}\n{notes}\n"


def to_junit(report: CheckReport) -> str:
    """One test suite, a test case a finding; readable by GitHub, GitLab, Jenkins."""
    statuses = [finding.status for finding in report.findings]
    suite = ElementTree.Element(
        "testsuite",
        name=escape.xml(report.title),
        tests=str(len(statuses)),
        failures=str(statuses.count("failed")),
        errors=str(statuses.count("error")),
    )
    for finding in report.findings:
        case = ElementTree.SubElement(suite, "testcase", classname="skill_bench.check", name=escape.xml(finding.name))
        text = escape.xml(f"baseline {finding.before}, now {finding.now}: {finding.message}")
        if finding.status == "passed":
            ElementTree.SubElement(case, "system-out").text = text
        else:
            tag = "failure" if finding.status == "failed" else "error"
            ElementTree.SubElement(case, tag, message=escape.xml(finding.message)).text = text
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def write_report(report: CheckReport, *, junit: Path | None, markdown: Path | None) -> None:
    """JUnit XML into one file; Markdown at the end of another one, which may hold earlier reports."""
    if junit is not None:
        write_atomic(junit, to_junit(report).encode())
    if markdown is not None:
        earlier = markdown.read_bytes() if markdown.is_file() else b""  # whatever its encoding is
        write_atomic(markdown, earlier + to_markdown(report).encode())


def require_passed(report: CheckReport) -> None:
    """Checks that nothing failed.

    Raises:
        SkillBenchError: lists what did.
    """
    if not report.passed:
        listed = "\n".join(f"  {finding.name}: {finding.message}" for finding in report.problems)
        raise SkillBenchError(f"{len(report.problems)} of {counted(len(report.findings), 'finding')} failed:\n{listed}")
