"""The table as data: what every renderer (CSV, Markdown, LaTeX, console, page) shows. Plain values, no text layout.

    Table
    ├── sections: one for each set of comparable rows, measured ones first
    │   ├── columns: the metrics in it; ``judged`` are those by which a task is judged
    │   └── rows: best first
    │       ├── cells: column name -> Cell (value, interval, spread over seeds, rank, retention, record files)
    │       ├── costs: parameters, MACs, throughput, memory, what the compression took
    │       └── entries: the records themselves (layer weights, learning curves, provenance)
    └── problems: what was left out or is doubtful, a sentence each

`skill_bench.report.table.build.build` makes it from records and published rows,
`skill_bench.report.table.load.load_table` from folders. A value that does not exist is None; nothing here is ever NaN.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from skill_bench.report.statistics.interval import Interval
from skill_bench.report.table.columns import Column
from skill_bench.report.table.entry import Entry

if TYPE_CHECKING:
    pass

Source = Literal["measured", "published"]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One metric of one system.

    Attributes:
        column: What is measured, in which unit, and which direction is better.
        value: Mean over seeds.
        by_seed: Each seed's value; empty for a published number.
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
class Costs:
    """What a system costs; None where it was not measured or not published.

    ``measured_on`` names the machine of throughput and memory. ``compression_hours``: what training the student took,
    times the devices, on ``compressed_on``; ``compression_speech_hours``: of how much audio; as its checkpoint says.
    """

    parameters_millions: float | None = None
    macs_giga: float | None = None
    macs_superb_giga: float | None = None
    throughput_audio_seconds_per_second: float | None = None
    peak_memory_mebibytes: float | None = None
    compression_hours: float | None = None
    compression_speech_hours: float | None = None
    compressed_on: str | None = None
    measured_on: str | None = None


@dataclass(frozen=True, kw_only=True)
class Row:
    """One system in one section.

    Attributes:
        source: Whether we measured it or somebody else published it.
        origin: For a measured row "run" or "shipped", for a published one the citation.
        system: Name by which the command line knows it.
        title: Name for people, unique in its section.
        kind: student, teacher, baseline, control or other; None for a published row.
        identity: Hash of the model; None for a published row.
        teacher: Name of the system it was compressed from.
        cells: By column name; a metric without a value is missing, and ``notes`` say why.
        mean_points: Mean of the judged metrics with higher better; None unless the row has every task of the section.
        superb_score, overall_score: See `skill_bench.report.table.score`; None unless every task is there.
        superb_score_published: As the source printed it.
        rank: By mean points (measured) or SUPERB score (published); None for an incomplete row.
        retention_percent: The score behind ``rank`` (published rows: the overall score), of the teacher's.
        notes: Failed cells, absent values.
        entries: The records of a measured row.
    """

    source: Source
    origin: str
    system: str
    title: str
    kind: str | None = None
    identity: str | None = None
    teacher: str | None = None
    cells: Mapping[str, Cell]
    costs: Costs
    mean_points: float | None = None
    superb_score: float | None = None
    overall_score: float | None = None
    superb_score_published: float | None = None
    rank: int | None = None
    retention_percent: float | None = None
    notes: tuple[str, ...] = ()
    entries: tuple[Entry, ...] = ()

    @property
    def files(self) -> tuple[Path, ...]:
        """Every record file behind this row."""
        return tuple(entry.file for entry in self.entries if entry.file is not None)


@dataclass(frozen=True, kw_only=True)
class Section:
    """Rows that may be compared: one suite, one protocol, one version of each task and its data."""

    label: str
    source: Source
    suite: str
    protocol: str | None
    synthetic: bool
    tasks: tuple[str, ...]
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]

    @property
    def judged(self) -> tuple[Column, ...]:
        """The columns by which tasks are judged, in order."""
        return tuple(column for column in self.columns if column.primary)

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
