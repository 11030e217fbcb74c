"""What is not there: every row and distillation seed on every task and corpus, and why, where that is known."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from skill_bench.base.escape import markdown, without_paths
from skill_bench.evaluation.task_files import is_trained
from skill_bench.report.table.table import Section, SystemRow
from skill_bench.sweep.failed import Failed
from skill_bench.sweep.grid import by_suite
from skill_bench.sweep.report.groups import Wanted
from skill_bench.sweep.report.joint import Suite
from skill_bench.sweep.report.readings import Part, Seed

Training = tuple[str, Seed]
"""A row and a distillation seed."""
_STEPS = {"distillation": "was not distilled", "fidelity": "was not held against its teacher"}


def missing(
    suites: Sequence[Suite],
    expected: Mapping[str, Wanted] | None = None,
    *,
    parts: Sequence[Part] = (),
    failed: Sequence[Failed] = (),
) -> list[str]:
    """A line for every gap, and for every cell that failed.

    Args:
        suites: The tables of tasks.
        expected: What is wanted of rows, by name: of today's version of a task, where anybody has that. Other rows
            should have what others have beside them.
        parts: Fidelity, by teacher.
        failed: Students that could not be made or measured.
    """
    expected = expected or {}
    there = _trainings(suites, parts)
    lines = _without_anything(there, expected, failed)
    names = dict.fromkeys(suite.section.suite for suite in suites)
    names |= dict.fromkeys(suite for wanted in expected.values() for suite in by_suite(wanted.tasks))
    for name in names:
        own = [suite for suite in suites if suite.section.suite == name]
        found = [*_of_suite(name, own, there, expected), *_notes(own)]
        lines += [f"{name} {line}" for line in found] if len(names) > 1 else found
    return lines + _of_fidelity(parts, there, expected)


def _trainings(suites: Sequence[Suite], parts: Sequence[Part]) -> dict[Training, str]:
    """Those of which there is anything, and what they are called."""
    found: dict[Training, str] = {
        (name, seed): name if seed is None else f"{name}-s{seed}"
        for part in parts
        for name, row in part.rows.items()
        for seed in row.readings
    }
    found |= {training: row.system for suite in suites for training, row in _rows(suite).items()}
    return dict(sorted(found.items(), key=lambda item: item[1]))


def _rows(suite: Suite) -> dict[Training, SystemRow]:
    return {(group.name, seed): row for group in suite.groups.values() for seed, row in group.rows.items()}


def _without_anything(
    there: Mapping[Training, str], expected: Mapping[str, Wanted], failed: Sequence[Failed]
) -> list[str]:
    told = {*there, *((one.row, one.seed) for one in failed)}
    absent: dict[tuple[Seed, ...], list[str]] = defaultdict(list)
    for name, wanted in expected.items():
        asked = wanted.seeds if wanted.tasks or wanted.corpora else ()
        absent[tuple(seed for seed in asked if (name, seed) not in told)].append(name)
    lines = [f"{', '.join(names)}{_said(seeds)}: no records" for seeds, names in absent.items() if seeds]
    whys = (markdown(without_paths(one.reason)) for one in failed)
    return lines + [
        f"{one.row}, distillation seed {one.seed}: {_STEPS[one.step]}: {why}"
        for one, why in zip(failed, whys, strict=True)
    ]


def _said(seeds: Sequence[Seed]) -> str:
    return "" if seeds == (None,) else f", distillation seed {', '.join(map(str, seeds))}"


def _of_suite(
    name: str, own: Sequence[Suite], there: Mapping[Training, str], expected: Mapping[str, Wanted]
) -> list[str]:
    wanted = {row: by_suite(one.tasks).get(name, ()) for row, one in expected.items()}
    beside = {(training, task) for suite in own for training in _rows(suite) for task in suite.section.tasks}
    tasks = [task for one in (*(suite.section.tasks for suite in own), *wanted.values()) for task in one]
    found = {task: _results(own, task) for task in dict.fromkeys(tasks)}
    probe_seeds = {seed for row, one in expected.items() if wanted[row] for seed in one.probe_seeds}
    probe_seeds |= {seed for results in found.values() for seeds in results.values() for seed in seeds}
    lines = []
    for task, results in found.items():
        trained = is_trained(task)
        of_today = _results([suite for suite in own if not suite.section.outdated], task) or results
        lacking: dict[tuple[int, ...], list[str]] = defaultdict(list)
        for training, called in there.items():
            is_expected = training[0] in wanted
            asked = task in wanted[training[0]] if is_expected else (training, task) in beside
            has = (of_today if is_expected else results).get(training, set())
            enough = has and not trained  # another seed would give the same
            if asked and not enough and (absent := probe_seeds - has):
                lacking[tuple(sorted(absent))].append(called)
        lines += [
            f"{task}, probe seed {', '.join(map(str, absent))}: no result of {', '.join(systems)}"
            for absent, systems in lacking.items()
        ]
    return lines


def _results(own: Sequence[Suite], task: str) -> dict[Training, set[int]]:
    """Probe seeds with a result, by training."""
    found: dict[Training, set[int]] = defaultdict(set)
    for suite in (suite for suite in own if task in suite.section.tasks):
        for training, row in _rows(suite).items():
            found[training] |= _probe_seeds(suite.section, row, task)
    return found


def _probe_seeds(section: Section, row: SystemRow, task: str) -> set[int]:
    """With which the row has a result for the task."""
    cells = [row.scores[c.name] for c in section.judged if c.task == task and c.name in row.scores]
    return {seed for cell in cells for seed in cell.by_seed}


def _notes(own: Sequence[Suite]) -> list[str]:
    return [f"{row.system}: {note}" for suite in own for row in suite.section.rows for note in row.notes]


def _of_fidelity(parts: Sequence[Part], there: Mapping[Training, str], expected: Mapping[str, Wanted]) -> list[str]:
    asked = [corpus for wanted in expected.values() for corpus in wanted.corpora]
    lines = []
    tables = [(part.rows, part.corpora, f" of {markdown(part.teacher.title)}") for part in parts]
    for rows, corpora, named in tables or [({}, [], "")]:
        teacher = named if len(parts) > 1 else ""
        for corpus in dict.fromkeys((*corpora, *asked)):
            lacking = []
            for (name, seed), called in there.items():
                own = rows[name].readings.get(seed) if name in rows else None
                is_asked = corpus in expected[name].corpora if name in expected else own is not None
                if is_asked and corpus not in (own or {}):
                    lacking.append(called)
            if lacking:
                lines.append(f"fidelity{teacher} on {corpus}: no result of {', '.join(lacking)}")
    return lines
