"""What every kind of task gets, and what it gives back."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import torch

from skill_bench.base.progress import Progress
from skill_bench.corpora.data import TaskData
from skill_bench.features.extract import Features, FeatureSource
from skill_bench.records.record import Selection
from skill_bench.tasks import TaskSpec

AnySpec = TypeVar("AnySpec", bound=TaskSpec)


class CellUpstream(FeatureSource, Protocol):
    """An upstream; ``downsample_rate`` is the number of 16 kHz samples from one frame to the next."""

    downsample_rate: int


class Clock:
    """Wall-clock seconds of consecutive stages."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def mark(self, stage: str, *, shared_by: int = 1) -> None:
        """The stage that ends now; what several seeds did together is shared out evenly."""
        self.seconds[stage] = 0.0
        self.add(stage, shared_by=shared_by)

    def add(self, stage: str, *, shared_by: int = 1) -> None:
        """More of a stage that was marked before."""
        now = time.perf_counter()
        self.seconds[stage] += (now - self._last) / shared_by
        self._last = now


@dataclass(frozen=True, kw_only=True)
class Cell(Generic[AnySpec]):
    """One upstream on one task, with one or several seeds.

    Attributes:
        task: Resolved for suite and protocol.
        extracted: The features of the kind's requests.
        batch_seconds: See `skill_bench.features.extract.extract`.
        extraction_threads: CPU threads of extraction.
    """

    upstream: CellUpstream
    task: AnySpec
    data: TaskData
    seeds: tuple[int, ...]
    cache_dir: Path
    cache_limit_bytes: int | None = None
    progress: Progress
    device: torch.device
    clock: Clock = field(default_factory=Clock)
    extracted: list[Features] = field(default_factory=list)
    batch_seconds: float | None = None
    extraction_threads: int = field(default_factory=torch.get_num_threads)


@dataclass(frozen=True, kw_only=True)
class Solved:
    """What a kind of task found.

    Attributes:
        rows: Test predictions as `skill_bench.metrics.scoring` describes them, still without counts.
        layer_weights: Weight of each hidden state, mean over folds; they add up to 1.
        selection: What was chosen on dev, and every dev point.
        notes: Facts that belong beside the numbers.
    """

    rows: Sequence[dict[str, Any]]
    layer_weights: tuple[float, ...]
    selection: Selection
    notes: tuple[str, ...] = ()
