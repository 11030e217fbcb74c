"""What an upstream costs: parameters, multiply-adds, throughput, memory, what it takes where it is deployed. One small
record an upstream.

``run`` writes it to ``<out>/<suite>/<upstream>/profile.json``, beside the upstream's results; ``profile`` writes it to
``<out>/profile/<upstream>/profile.json``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from skill_bench.base.archive import find
from skill_bench.base.documents import Document
from skill_bench.base.provenance import Provenance
from skill_bench.base.specs import Frozen
from skill_bench.records.record import System, upstream_folder


class Band(Frozen):
    """An estimate between the least and the most that the probe saw."""

    low: float
    estimate: float
    high: float

    def times(self, factor: float) -> Band:
        return Band(low=self.low * factor, estimate=self.estimate * factor, high=self.high * factor)

    def plus(self, other: Band) -> Band:
        return Band(low=self.low + other.low, estimate=self.estimate + other.estimate, high=self.high + other.high)


class Parameters(Frozen):
    """Counts of numbers, not of bytes. A shared tensor counts once. Buffers are not parameters."""

    total: int
    trainable: int
    buffers: int
    n_bytes: int
    by_component: dict[str, int]


class Macs(Frozen):
    """Multiply-adds over the challenge's 32 utterances, one at a time; see measure/macs.py for what counts.

    ``buckets`` are the sums over eight utterances each, shortest first. ``superb`` adds, for every attention layer, the
    bias additions and the scaling, masking and softmax that the challenge's own tool counts.
    """

    total: int
    superb: int
    buckets: tuple[int, ...]
    superb_buckets: tuple[int, ...]
    by_operation: dict[str, int]
    lengths_samples: tuple[int, ...]


class Throughput(Frozen):
    """Seconds of audio encoded per second, over repeats after warm-up."""

    median: float
    minimum: float
    maximum: float
    batch_seconds: tuple[float, ...]
    n_warmup: int
    batch_size: int
    utterance_seconds: float
    dtype: str
    device: str
    n_threads: int


class Memory(Frozen):
    """Bytes that the allocator handed out at most during one forward, above what was there before (the weights)."""

    peak_bytes: int
    weight_bytes: int
    batch_size: int
    utterance_seconds: float
    dtype: str
    device: str
    method: str


class ColdStart(Frozen):
    """Seconds from a file on disk to the hidden states of a first utterance, in a process that has its libraries.

    ``seconds`` are the repeats, by one CPU thread. The file was read before, so that disks do not count.
    """

    median: float
    seconds: tuple[float, ...]
    utterance_seconds: float


_PARTS = ("parameters", "macs", "throughput", "memory")
NOT_ASKED = "not asked for"
_LATER_PARTS = ("disk_bytes", "cold_start")
"""Measured where a model can be loaded again; profiles from before they were lack them, and do not say why."""


class Profile(Document):
    """The cost of one upstream. A part that was not measured is None, and ``reasons`` says why under its name.

    ``disk_bytes`` and ``cold_start`` count where it is deployed: the size of its file, the wait for a first result.
    """

    kind: Literal["profile"] = "profile"
    system: System
    parameters: Parameters | None
    macs: Macs | None
    throughput: Throughput | None
    memory: Memory | None
    disk_bytes: int | None = None
    cold_start: ColdStart | None = None
    reasons: dict[str, str] = Field(default_factory=dict)
    provenance: Provenance

    @model_validator(mode="after")
    def _parts_or_reasons(self) -> Self:
        asked = {*_PARTS, *(name for name in _LATER_PARTS if name in self.reasons)}
        absent = {name for name in asked if getattr(self, name) is None}
        if absent != set(self.reasons):
            raise ValueError(f"reasons explain {sorted(self.reasons)}, absent are {sorted(absent)}")
        return self

    @property
    def real_time_factor(self) -> float | None:
        """Seconds that one CPU thread takes for a second of a 10 s utterance; None where that was not measured."""
        found = self.throughput
        usual = ("cpu", 1, 1, 10.0)
        if found is None or (found.device, found.n_threads, found.batch_size, found.utterance_seconds) != usual:
            return None
        return 1 / found.median

    def path(self, out_dir: Path, suite: str = "profile") -> Path:
        """The profile's place below ``out_dir``."""
        return _path(out_dir, suite, self.system.name)


def find_profile(place: Path, suite: str, system: System, *, timed: bool = False) -> Profile | None:
    """The profile of exactly this model in a folder or archive of records, or None: then it has to be measured.

    Args:
        place: the folder or archive.
        suite: of the records beside it.
        system: the model.
        timed: one whose times nobody asked for is not enough.

    Raises:
        RecordError: a file is there and cannot be trusted.
    """
    path = find(place, _path(Path(), suite, system.name))
    found = None if path is None else Profile.read(path)
    if found is None or found.system.identity != system.identity:
        return None
    return None if timed and found.reasons.get("throughput") == NOT_ASKED else found


def _path(out_dir: Path, suite: str, name: str) -> Path:
    return upstream_folder(out_dir, suite, name) / "profile.json"
