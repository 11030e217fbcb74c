"""Is one system better than another? Loads no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from skill_bench.report.comparison import SystemComparison, compare_systems, rows_of, to_text
from skill_bench.report.table.load import load_table, results_here


@dataclass(frozen=True, kw_only=True)
class Compared:
    """Two systems in every suite that both were measured on; prints as ``skill-bench compare`` does.

    Attributes:
        problems: files that could not be used, and records that stand in no comparison.
    """

    sections: tuple[SystemComparison, ...]
    problems: tuple[str, ...] = ()

    @property
    def frame(self) -> pd.DataFrame:
        """A row a task, then the mean: values, difference in points with its interval, p values, verdict in words."""
        found = pd.DataFrame([row for section in self.sections for row in rows_of(section)])
        return found.astype({name: "Int64" for name in ("n_units", "a_n_seeds", "b_n_seeds") if name in found})

    def __str__(self) -> str:
        return "\n".join([*map(to_text, self.sections), *(f"problem: {problem}" for problem in self.problems)])

    __repr__ = __str__


def compare(
    a: str, b: str, *, results: str | Path | None = None, suite: str | None = None, level: float = 0.05
) -> Compared:
    """Paired tests of two systems on the same test items, task by task.

    Args:
        a, b: ``[origin:]name[@hash]`` of systems: ``run:`` or ``shipped:`` and the hash where a name fits several.
        results: Folder or archive of records, by default ``results``, where `skill_bench.evaluate` writes; those that
            come with the package are always read.
        suite: Only this one.
        level: Of error, corrected over tasks.

    Raises:
        UnknownName: no measured system of that name.
        UsageError: a name fits several systems, or none was measured on the data of the other.
    """
    folder = None if results is None else Path(results)
    table = load_table(results_here(folder), suite=suite, published=False, intervals=False)
    return Compared(sections=tuple(compare_systems(table, a, b, level=level)), problems=tuple(table.problems))
