"""What ``skill-bench bench`` measured, as one document, and the page made of it. Loads no torch."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from skill_bench.provenance import Provenance
from skill_bench.schema import Document, Frozen


class Timing(Frozen):
    """Seconds of one contestant in each round; round by round, all contestants of a contest ran one after the other."""

    name: str
    seconds: tuple[float, ...]


class Floor(Frozen):
    """What the machine needs for a contest's products alone: a matrix product of known size, timed in every round."""

    macs: int
    product_macs: int
    product_seconds: tuple[float, ...]


class Contest(Frozen):
    """The same work done in several ways; the first contestant is skill-bench.

    ``amount`` of ``unit`` is done in each round, for example 40 seconds of audio.
    """

    name: str
    what: str
    amount: float
    unit: str
    timings: tuple[Timing, ...]
    floor: Floor | None = None


class Speed(Document):
    """All contests of one call. One that could not be held is missing, and ``reasons`` says why under its name."""

    kind: Literal["speed"] = "speed"
    contests: tuple[Contest, ...]
    reasons: dict[str, str] = Field(default_factory=dict)
    load_average: float | None
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


def markdown(speed: Speed) -> str:
    """The page ``docs/performance.md``."""
    hardware, packages = speed.provenance.hardware, speed.provenance.packages
    versions = ", ".join(
        f"{name} {packages[name]}" for name in ("torch", "torchaudio", "transformers") if name in packages
    )
    load = "" if speed.load_average is None else f" Load average when it started: {speed.load_average:.1f}."
    lines = [
        "# Performance",
        "",
        "Written by `skill-bench bench --markdown docs/performance.md`; run it for your own machine.",
        "",
        f"{hardware.cpu_model or 'unknown processor'}, {hardware.n_cores_usable} cores, "
        f"{speed.provenance.n_threads} threads, {', '.join(hardware.gpus or ()) or 'no GPU used'}; "
        f"{versions}; {speed.provenance.started_at}.{load}",
        "",
        "In every round all contestants run one after the other in one process; ratios are taken within a round. Shown",
        "are the median and, in brackets, the smallest and the largest of all rounds. The floor is the time that the",
        "model's multiply-adds would take at the rate of a large float32 matrix product, measured in the same round.",
    ]
    for contest in speed.contests:
        lines += ["", f"## {contest.name}", "", contest.what, ""]
        if contest.floor is not None:
            lines += [
                f"Floor: {contest.floor.macs / 1e9:.1f} G multiply-adds at "
                f"{product_rate(contest.floor).shown(1)} G a second.",
                "",
            ]
        lines += _table(contest)
    for name, reason in speed.reasons.items():
        lines += ["", f"## {name}", "", f"Not measured: {reason}"]
    return "\n".join(lines) + "\n"


def _table(contest: Contest) -> list[str]:
    first = contest.timings[0]
    heads = ["", f"{contest.unit} a second", f"time / {first.name}'s"]
    heads += ["share of the floor"] if contest.floor else []
    lines = [" | ".join(["", *heads, ""]).strip(), "|" + "---|" * len(heads)]
    for timing in contest.timings:
        cells = [timing.name, rate(contest, timing).shown(), "1" if timing is first else ratio(first, timing).shown()]
        share = share_of_floor(contest, timing)
        cells += [share.shown()] if share else []
        lines.append(f"| {' | '.join(cells)} |")
    return lines
