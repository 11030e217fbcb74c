"""The one table of scores and costs: whatever stands here is in the CSV file and in every rendering.

A quantity is a number of a whole system, be it a score over tasks or a cost, and from what it is read.

Two scores of the whole SUPERB benchmark. A missing task makes either undefined: None, never a partial mean.

``superb_score`` is the public board's: per task 1000 * (s - fbank) / (sota - fbank), where s is the metric with higher
better (100 minus an error rate) and sota the best result when the board opened; slot filling counts once, as the mean
of its two metrics. Source: superbbenchmark's score code, of the SUPERB challenge at SLT 2022 (arXiv 2210.08634).
``overall_score`` is what distillation papers print: the mean of the eleven metrics, error rates as 100 minus them
(for example DPHuBERT, arXiv 2305.17651).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from skill_bench.records.profile import Profile
from skill_bench.records.record import System
from skill_bench.report.table.columns import published_column

WHOLE_SUPERB = "superb"
"""The suite of SUPERB's own corpora: on others the scores' anchors mean nothing."""

ANCHORS: dict[str, tuple[float, float]] = {
    "pr_per_percent": (17.99, 96.47),
    "asr_wer_percent": (76.82, 96.38),
    "ks_accuracy_percent": (41.3826674, 96.66),
    "ic_accuracy_percent": (9.649354219, 98.76),
    "sid_accuracy_percent": (20.058174, 90.3),
    "er_accuracy_percent": (48.23672168, 67.62),
    "qbe_mtwv_x100": (0.58, 7.36),
    "sf_f1_percent": (69.64, 89.81),
    "sf_cer_percent": (47.06, 78.24),
    "asv_eer_percent": (90.44, 94.89),
    "sd_der_percent": (89.95, 94.38),
}
"""Column -> (fbank, best), with higher better."""


def superb_score(values: Mapping[str, float | None]) -> float | None:
    """The public board's score of metrics by column name, or None where one is missing."""
    points = _points(values)
    if points is None:
        return None
    scores = {name: 1000 * (points[name] - low) / (high - low) for name, (low, high) in ANCHORS.items()}
    slot_filling = (scores.pop("sf_f1_percent") + scores.pop("sf_cer_percent")) / 2
    return (sum(scores.values()) + slot_filling) / (len(scores) + 1)


def overall_score(values: Mapping[str, float | None]) -> float | None:
    """The mean of the eleven metrics, higher better, or None where one is missing."""
    points = _points(values)
    return None if points is None else sum(points.values()) / len(points)


def _points(values: Mapping[str, float | None]) -> dict[str, float] | None:
    points = {}
    for name in ANCHORS:
        value, column = values.get(name), published_column(name)
        assert column is not None, name
        if value is None:
            return None
        points[name] = column.points(value)
    return points


@dataclass(frozen=True, kw_only=True)
class Facts:
    """All that is known of one system.

    Attributes:
        values: By column name: a published table's numbers; a measured system's metrics on SUPERB's own corpora.
        system: As the newest record says; None for a published system.
        profile: The newest of exactly this model, if there is one.
        fidelity: Mean share of its teacher that this model keeps, if it was measured.
    """

    values: Mapping[str, float | None] = field(default_factory=dict)
    system: System | None = None
    profile: Profile | None = None
    fidelity: float | None = None


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """One number of a system.

    Attributes:
        name: Of its column in the CSV file; a cost's ends in the unit.
        title, unit: What its heading says, the unit last.
        decimals: As printed; None for what stands in the CSV file only, in full precision.
        better: Which direction is better.
        kind: Scores stand behind the tasks and their best is marked; costs follow.
        of: Its value for a system, None if that is not known; left out for what only a whole section or a published
            table tells.
        may_be_published: Whether a published table may state it.
        description: A sentence for the page.
        axis: Its name on the axis of a figure; there is a figure against each cost that has one.
    """

    name: str
    title: str
    unit: str = ""
    decimals: int | None = None
    better: Literal["higher", "lower"]
    kind: Literal["score", "cost"]
    of: Callable[[Facts], float | None] | None = None
    may_be_published: bool = False
    description: str | None = None
    axis: str | None = None

    @property
    def heading(self) -> str:
        """For example ``peak MiB``."""
        return f"{self.title} {self.unit}".rstrip()

    def read(self, facts: Facts) -> float | None:
        """What a published table states, else what the records and the profile give."""
        stated = facts.values.get(self.name)
        return self.of(facts) if stated is None and self.of is not None else stated

    def text(self, value: float | None, *, absent: str) -> str:
        """The value with its decimals, or ``absent``."""
        return absent if value is None else f"{value:.{self.decimals or 0}f}"


def _parameters(facts: Facts) -> float | None:
    """As the profile counted them, else as the record says."""
    n_parameters = None if facts.system is None else facts.system.n_parameters
    if facts.profile is not None and facts.profile.parameters is not None:
        n_parameters = facts.profile.parameters.total
    return None if n_parameters is None else n_parameters / 1e6


def _profiled(read: Callable[[Profile], float | None]) -> Callable[[Facts], float | None]:
    return lambda facts: None if facts.profile is None else read(facts.profile)


def _peak_mebibytes(profile: Profile) -> float | None:
    memory = profile.memory
    return None if memory is None else (memory.peak_bytes + memory.weight_bytes) / 2**20


def _said(name: str, *, of_students: bool = False) -> Callable[[Facts], float | None]:
    """A number of the checkpoint's own description, whose values are text; None if it is no finite number."""

    def of(facts: Facts) -> float | None:
        if facts.system is None or (of_students and not facts.system.teacher):
            return None
        try:
            value = float(str(facts.system.details[name]))
        except (KeyError, ValueError):
            return None
        return value if math.isfinite(value) else None

    return of


MEAN = Quantity(
    name="mean_points",
    title="mean",
    decimals=1,
    better="higher",
    kind="score",
    description="Mean over the section's tasks that count, error rates as 100 minus them",
    axis="mean over tasks",
)
SUPERB = Quantity(
    name="superb_score",
    title="SUPERB score",
    decimals=0,
    better="higher",
    kind="score",
    of=lambda facts: superb_score(facts.values),
    description="The SUPERB challenge's score: 0 is FBANK, 1000 the best system when the board opened",
    axis="SUPERB score",
)
OVERALL = Quantity(
    name="overall_score",
    title="overall",
    decimals=1,
    better="higher",
    kind="score",
    of=lambda facts: overall_score(facts.values),
    description="Mean of the eleven SUPERB metrics, error rates as 100 minus them",
)
SUPERB_PUBLISHED = Quantity(
    name="superb_score_published", title="SUPERB score as printed", better="higher", kind="score", may_be_published=True
)
RETENTION = Quantity(
    name="retention_percent",
    title="of teacher",
    unit="%",
    decimals=1,
    better="higher",
    kind="score",
    description="Mean points over the section's tasks, in per cent of those of its own teacher",
)
FIDELITY = Quantity(
    name="fidelity_r2",
    title="fidelity",
    unit="R2",
    decimals=3,
    better="higher",
    kind="score",
    of=lambda facts: facts.fidelity,
    description="Held-out R2 from its layers to its teacher's, each direction alike, mean over layers and corpora",
)
PARAMETERS = Quantity(
    name="parameters_millions",
    title="params",
    unit="M",
    decimals=2,
    better="lower",
    kind="cost",
    of=_parameters,
    may_be_published=True,
    description="Parameters, in millions",
    axis="parameters (millions)",
)
MACS = Quantity(
    name="macs_giga",
    title="MACs",
    unit="G",
    better="lower",
    kind="cost",
    of=_profiled(lambda profile: None if profile.macs is None else profile.macs.total / 1e9),
)
MACS_SUPERB = Quantity(
    name="macs_superb_giga",
    title="MACs",
    unit="G",
    decimals=1,
    better="lower",
    kind="cost",
    of=_profiled(lambda profile: None if profile.macs is None else profile.macs.superb / 1e9),
    may_be_published=True,
    description="Multiply-adds over the 32 utterances of the SUPERB challenge, counted its way, in billions",
    axis="MACs (billions, 32 utterances)",
)
THROUGHPUT = Quantity(
    name="throughput_audio_seconds_per_second",
    title="audio",
    unit="s/s",
    decimals=0,
    better="higher",
    kind="cost",
    of=_profiled(lambda profile: None if profile.throughput is None else profile.throughput.median),
    description="Seconds of audio encoded per second",
)
PEAK_MEMORY = Quantity(
    name="peak_memory_mebibytes",
    title="peak",
    unit="MiB",
    decimals=0,
    better="lower",
    kind="cost",
    of=_profiled(_peak_mebibytes),
    description="Weights and peak of one forward pass, in MiB",
)
FILE = Quantity(
    name="file_megabytes",
    title="file",
    unit="MB",
    decimals=1,
    better="lower",
    kind="cost",
    of=_profiled(lambda profile: None if profile.disk_bytes is None else profile.disk_bytes / 1e6),
    description="Size of the file that was evaluated, in megabytes",
    axis="file (MB)",
)
REAL_TIME_FACTOR = Quantity(
    name="one_thread_real_time_factor",
    title="RTF",
    decimals=3,
    better="lower",
    kind="cost",
    of=_profiled(lambda profile: profile.real_time_factor),
    description="Real-time factor: what one CPU thread takes for a second of speech, in utterances of 10 s",
    axis="real-time factor (one thread)",
)
COLD_START = Quantity(
    name="cold_start_seconds",
    title="cold start",
    unit="s",
    decimals=2,
    better="lower",
    kind="cost",
    of=_profiled(lambda profile: None if profile.cold_start is None else profile.cold_start.median),
    description="From the file to the hidden states of a first second of speech",
    axis="cold start (s)",
)
COMPRESSION = Quantity(
    name="compression_hours",
    title="compression",
    unit="h",
    decimals=2,
    better="lower",
    kind="cost",
    of=_said("compression_hours"),
    description="Device-hours that the updates of its distillation took, as its checkpoint says",
)
COMPRESSION_SPEECH = Quantity(
    name="compression_speech_hours",
    title="compression speech",
    unit="h",
    better="lower",
    kind="cost",
    of=_said("training_hours", of_students=True),
)

QUANTITIES: tuple[Quantity, ...] = (
    MEAN, SUPERB, OVERALL, SUPERB_PUBLISHED, RETENTION, FIDELITY,
    PARAMETERS, MACS, MACS_SUPERB, THROUGHPUT, PEAK_MEMORY, FILE, REAL_TIME_FACTOR, COLD_START,
    COMPRESSION, COMPRESSION_SPEECH,
)  # fmt: skip
"""In the order of their columns."""


def quantities(kind: Literal["score", "cost"], *, printed: bool = False) -> list[Quantity]:
    """All scores or all costs; ``printed``: those that are not for the CSV file alone."""
    return [one for one in QUANTITIES if one.kind == kind and (one.decimals is not None or not printed)]


def read_quantities(facts: Facts) -> dict[str, float]:
    """By name, every number that ``facts`` give."""
    return {one.name: value for one in QUANTITIES if (value := one.read(facts)) is not None}


def publishable() -> tuple[str, ...]:
    """The columns of a published table that hold no metric of a task."""
    return tuple(one.name for one in QUANTITIES if one.may_be_published)
