"""What is not there: rows without records, cells that others have."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from skill_bench.report.table.table import Section, SystemRow
from skill_bench.sweep.report.groups import Wanted
from skill_bench.sweep.report.joint import Suite


def missing(suites: Sequence[Suite], expected: Mapping[str, Wanted] | None = None) -> list[str]:
    """Rows of ``expected``, by name, without a record, and cells that others of their suite have.

    A row that is not in ``expected`` should have every task of its suite.
    """
    expected = expected or {}
    lines = []
    for name, wanted in expected.items():
        there = {seed for suite in suites if name in suite.groups for seed in suite.groups[name].rows}
        absent = [seed for seed in wanted.seeds if seed not in there] if wanted.tasks else []
        if absent:
            said = "" if absent == [None] else f", distillation seed {', '.join(map(str, absent))}"
            lines.append(f"{name}{said}: no records")
    for suite in suites:
        found = _cells(suite, expected)
        lines += [f"{suite.section.suite} {line}" for line in found] if len(suites) > 1 else found
    return lines


def _cells(suite: Suite, expected: Mapping[str, Wanted]) -> list[str]:
    section, lines = suite.section, []
    probe_seeds = {seed for row in section.rows for task in section.tasks for seed in _probe_seeds(section, row, task)}
    wanted = {
        name: [task for suite_name, _, task in (one.partition("/") for one in own.tasks) if suite_name == section.suite]
        for name, own in expected.items()
    }
    for task in dict.fromkeys((*section.tasks, *(task for own in wanted.values() for task in own))):
        asked = [g for g in suite.groups.values() if g.name not in wanted or task in wanted[g.name]]
        lacking: dict[tuple[int, ...], list[str]] = defaultdict(list)
        for row in (row for group in asked for row in group.rows.values()):
            if absent_seeds := probe_seeds - _probe_seeds(section, row, task):
                lacking[tuple(sorted(absent_seeds))].append(row.system)
        lines += [
            f"{task}, probe seed {', '.join(map(str, absent_seeds))}: no result of {', '.join(systems)}"
            for absent_seeds, systems in lacking.items()
        ]
    for row in section.rows:
        lines += [f"{row.system}: {note}" for note in row.notes]
    return lines


def _probe_seeds(section: Section, row: SystemRow, task: str) -> set[int]:
    """With which the row has a result for the task."""
    cells = [row.scores[c.name] for c in section.judged if c.task == task and c.name in row.scores]
    return {seed for cell in cells for seed in cell.by_seed}
