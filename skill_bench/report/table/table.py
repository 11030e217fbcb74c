"""The table as data: what every renderer (CSV, Markdown, LaTeX, console, page) shows. Plain values, no text layout.

    Table
    ├── sections: one for each set of comparable rows, measured ones first
    │   ├── columns: the metrics in it; ``judged`` are those by which a task is judged
    │   └── rows: best first
    │       ├── scores: column name -> Score (value, interval, spread over seeds, rank, retention, record files)
    │       ├── quantities: name -> score over tasks, or cost (parameters, MACs, throughput, memory)
    │       └── entries: the records themselves (layer weights, learning curves, provenance)
    └── problems: what was left out or is doubtful, a sentence each

`skill_bench.report.table.build.build` makes it from records and published rows,
`skill_bench.report.table.load.load_table` from folders. A value that does not exist is None; nothing here is ever NaN.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from skill_bench.records.fidelity import Fidelity
from skill_bench.report.statistics.interval import Interval
from skill_bench.report.table.columns import Column
from skill_bench.report.table.entry import FoundRecord
from skill_bench.report.table.quantities import Quantity

FEW_TASKS = 2
"""Of a mean that is said by their names."""
Basis = Literal["measured", "published"]


@dataclass(frozen=True, kw_only=True)
class Score:
    """One metric of one system.

    Attributes:
        column: What is measured, in which unit, and which direction is better.
        value: Mean over seeds.
        by_seed: Each seed's value, be that a probe's or, in a row of several trainings, a distillation's; empty for a
            published number.
        std: Standard deviation over seeds; None for fewer than two.
        interval: Confidence interval of ``value``; None where ``no_interval`` says why.
        speaker_interval: The same with whole speakers drawn; None where the predictions do not say who speaks, or too
            few do.
        no_interval: Why there is no interval.
        rank: Place among the section's rows that have this cell; equal values share it.
        retention_percent: This cell's points, of those of the row's own teacher in the same section. Points are the
            metric with higher better (error rates as 100 minus them).
        files: The records that the value was read from.
    """

    column: Column
    value: float
    by_seed: Mapping[int, float] = field(default_factory=dict)
    std: float | None = None
    interval: Interval | None = None
    speaker_interval: Interval | None = None
    no_interval: str | None = None
    rank: int | None = None
    retention_percent: float | None = None
    files: tuple[Path, ...] = ()

    @property
    def points(self) -> float:
        """The value with higher better."""
        return self.column.points(self.value)


@dataclass(frozen=True, kw_only=True)
class SystemRow:
    """One system in one section.

    Attributes:
        source: Whether we measured it or somebody else published it.
        origin: For a measured row "run" or "shipped", for a published one the citation.
        system: Name by which the command line knows it.
        title: Name for people, unique in its section.
        kind: student, teacher, baseline, control or other; None for a published row.
        identity: Hash of the model; None for a published row.
        teacher: Name of the system it was compressed from.
        scores: By column name; a metric without a value is missing, and ``notes`` say why.
        quantities: Scores and costs by name, see `skill_bench.report.table.quantities`; what is not known is not in it.
        compressed_on: The devices that its compression took, as its checkpoint says.
        measured_on: The machine of throughput and memory.
        intervals: Of quantities, by name: of the mean and of what is kept of the teacher, over test items and seeds.
        speaker_intervals: The same with whole speakers drawn in those tasks that know them.
        n_trainings: Of how many trainings of one recipe, with other distillation seeds, this row is the mean.
        rank: By mean points (measured) or SUPERB score (published); None for an incomplete row. Shared by rows that the
            paired test does not tell apart, see `skill_bench.report.table.whole`.
        rank_last: The last place of those that share it; None where nothing was tested.
        notes: Failed cells, absent values.
        entries: The records of a measured row.
        fidelity: How much of its teacher it keeps, a document a corpus.
    """

    source: Basis
    origin: str
    system: str
    title: str
    kind: str | None = None
    identity: str | None = None
    teacher: str | None = None
    scores: Mapping[str, Score]
    quantities: Mapping[str, float]
    compressed_on: str | None = None
    measured_on: str | None = None
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    speaker_intervals: Mapping[str, Interval] = field(default_factory=dict)
    n_trainings: int = 1
    rank: int | None = None
    rank_last: int | None = None
    notes: tuple[str, ...] = ()
    entries: tuple[FoundRecord, ...] = ()
    fidelity: tuple[Fidelity, ...] = ()

    def value(self, quantity: Quantity) -> float | None:
        """A score or a cost; None where it is not known. A mean or score needs every task that it is over."""
        return self.quantities.get(quantity.name)

    def entries_of(self, column: Column) -> list[FoundRecord]:
        """Its records of the column's task that have a value of the column's metric."""
        own = [entry for entry in self.entries if entry.record.key.task == column.task]
        return [e for e in own if (m := e.record.metrics.get(column.metric)) is not None and m.value is not None]

    def rate_at_edge(self, column: Column) -> bool:
        """Whether a learning rate chosen for it is the largest or smallest that was tried: a better may lie beyond."""
        chosen = [entry.record.selection for entry in self.entries_of(column)]
        return any(one is not None and bool(one.at_edge) for one in chosen)

    @property
    def files(self) -> tuple[Path, ...]:
        """Every record file behind this row."""
        return tuple(entry.file for entry in self.entries if entry.file is not None)


@dataclass(frozen=True, kw_only=True)
class Section:
    """Rows that may be compared: one suite, one protocol, one version of each task and its data.

    Attributes:
        tasks: In SUPERB's order, as the columns are.
        outdated: Whether a task has a newer version by now, which ``notes`` name.
        notes: What holds for every row.
        left_out: Tasks that are shown and do not count in a mean, see `skill_bench.report.table.telling`.
        finding: What students keep of their teacher, in a sentence; None where nothing can be said.
    """

    label: str
    source: Basis
    suite: str
    protocol: str | None
    synthetic: bool
    tasks: tuple[str, ...]
    columns: tuple[Column, ...]
    rows: tuple[SystemRow, ...]
    outdated: bool = False
    notes: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    finding: str | None = None

    @property
    def judged(self) -> tuple[Column, ...]:
        """The columns by which tasks are judged, in order."""
        return tuple(column for column in self.columns if column.primary)

    @property
    def averaged(self) -> tuple[Column, ...]:
        """The judged columns of the tasks that the mean is over."""
        return tuple(column for column in self.judged if column.task not in self.left_out and column.has_points)

    @property
    def names_its_mean(self) -> bool:
        """Whether the tasks of the mean are named where it is: some are left out of it, or it is over few."""
        return bool(self.left_out) or len(self.averaged) <= FEW_TASKS

    @property
    def shown(self) -> tuple[Column, ...]:
        """The judged columns, behind each the character error rate of its task, if it has one.

        It still tells systems apart where no word, or no slot, is right.
        """
        rates = [column for column in self.columns if column.metric == "cer" and not column.primary]
        return tuple(c for one in self.judged for c in (one, *(rate for rate in rates if rate.task == one.task)))


@dataclass(frozen=True, kw_only=True)
class Table:
    """Everything, and what cannot be trusted."""

    sections: tuple[Section, ...]
    problems: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[Column, ...]:
        """Every metric of any section, once."""
        return tuple({column.name: column for section in self.sections for column in section.columns}.values())
