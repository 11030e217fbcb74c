"""What ``skill-bench bench`` measured, as one document. Loads no torch."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from skill_bench.base.documents import Document
from skill_bench.base.provenance import Provenance
from skill_bench.base.specs import Frozen


class Timing(Frozen):
    """Seconds of one contestant in each round; round by round, all contestants of a contest ran one after the other.

    ``peak_bytes``: most memory that one more round allocated at one time, beyond what was there before.
    """

    name: str
    seconds: tuple[float, ...]
    peak_bytes: int | None = None


class Floor(Frozen):
    """What the machine needs for a contest's products alone: a matrix product of known size, timed in every round."""

    macs: int
    product_macs: int
    product_seconds: tuple[float, ...]


class Contest(Frozen):
    """The same work done in several ways; the first contestant is skill-bench.

    ``amount`` of ``unit`` is done in each round, for example 40 seconds of audio.
    """

    form: Literal["contest"] = "contest"
    name: str
    what: str
    amount: float
    unit: str
    timings: tuple[Timing, ...]
    floor: Floor | None = None


class EndToEndTask(Frozen):
    """One task from audio to score in two ways, both extrapolated from measured steps to ``n_steps``.

    Attributes:
        extraction_seconds: Ours: every utterance once.
        step_seconds: Ours: one step of all ``n_cells`` cells, and reading dev every ``evaluate_every_steps``.
        dev_seconds: Ours: reading dev once for all cells.
        their_step_seconds: s3prl's, of one cell; the upstream runs in each.
    """

    task: str
    n_utterances: int
    audio_hours: float
    n_steps: int
    n_cells: int
    evaluate_every_steps: int
    extraction_seconds: float
    step_seconds: tuple[float, ...]
    dev_seconds: float
    their_step_seconds: tuple[float, ...]

    @property
    def our_seconds(self) -> float:
        """The whole grid."""
        n_dev = self.n_steps // self.evaluate_every_steps
        return self.extraction_seconds + self.n_steps * statistics.median(self.step_seconds) + n_dev * self.dev_seconds

    @property
    def their_seconds(self) -> float:
        """One learning rate and one seed, without reading dev."""
        return self.n_steps * statistics.median(self.their_step_seconds)


class EndToEnd(Frozen):
    """Tasks from audio to score."""

    form: Literal["end_to_end"] = "end_to_end"
    name: str
    what: str
    tasks: tuple[EndToEndTask, ...]


class Load(Frozen):
    """Extraction of one corpus. ``encoder_seconds``: of ``seconds``, spent in the encoder."""

    audio_hours: float
    seconds: float
    encoder_seconds: float
    peak_bytes: int


class Growth(Frozen):
    """The same extraction over ever larger corpora."""

    form: Literal["growth"] = "growth"
    name: str
    what: str
    loads: tuple[Load, ...]


class ForecastTask(Frozen):
    """One cell: what was expected of it, and what it took."""

    task: str
    expected_seconds: float
    seconds: float


class Forecasts(Frozen):
    """Forecasts beside the truth."""

    form: Literal["forecasts"] = "forecasts"
    name: str
    what: str
    tasks: tuple[ForecastTask, ...]


class Facts(Frozen):
    """A table of what was found, each cell as it is shown."""

    form: Literal["facts"] = "facts"
    name: str
    what: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


Item = Annotated[Contest | EndToEnd | Growth | Forecasts | Facts, Field(discriminator="form")]


class Measured(Frozen):
    """One item and under what it was measured; ``load_average`` of the machine when it began."""

    item: Item
    started_at: str
    seconds: float
    n_threads: int
    load_average: float | None


class Speed(Document):
    """All items of one or several calls. One that could not be measured is missing; ``reasons`` says why."""

    kind: Literal["speed"] = "speed"
    items: dict[str, Measured]
    reasons: dict[str, str] = Field(default_factory=dict)
    provenance: Provenance


class Spread(Frozen):
    """Median, smallest and largest of several rounds."""

    median: float
    minimum: float
    maximum: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The spread of ``values``."""
        return cls(median=statistics.median(values), minimum=min(values), maximum=max(values))

    def shown(self, digits: int = 2) -> str:
        """As ``1.25 (1.20 to 1.31)``."""
        return f"{self.median:.{digits}f} ({self.minimum:.{digits}f} to {self.maximum:.{digits}f})"


def rate(contest: Contest, timing: Timing) -> Spread:
    """Amount a second."""
    return Spread.of([contest.amount / seconds for seconds in timing.seconds])


def ratio(ours: Timing, other: Timing) -> Spread:
    """How many times as long the other took, round by round."""
    return Spread.of([theirs / mine for mine, theirs in zip(ours.seconds, other.seconds, strict=True)])


def share_of_floor(contest: Contest, timing: Timing) -> Spread | None:
    """Least possible time over the time that was needed; None where there is no floor."""
    floor = contest.floor
    if floor is None:
        return None
    least = [floor.macs / floor.product_macs * seconds for seconds in floor.product_seconds]
    return Spread.of([own / seconds for own, seconds in zip(least, timing.seconds, strict=True)])


def product_rate(floor: Floor) -> Spread:
    """Multiply-adds a second in the matrix product, in G."""
    return Spread.of([floor.product_macs / seconds / 1e9 for seconds in floor.product_seconds])
