"""What a distillation will take: hours, memory and disk, from some real updates of each stage.

The probe is the distillation itself with few updates, on utterances taken evenly from the shortest to the longest
batches, so that its mean is that of an epoch and its peak that of the longest batch. Pruning brings the student to the
recipe's size however few updates it had, so the second stage is probed at its true size too.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Literal

import numpy as np
import torch

from skill_bench.base.documents import Document
from skill_bench.base.in_order import neighbours
from skill_bench.base.progress import Advance, Progress, Silent
from skill_bench.base.specs import Frozen
from skill_bench.corpora.data import Utterance
from skill_bench.distillation.distill import distill
from skill_bench.distillation.recipe import Recipe
from skill_bench.layers.options import SimilarGroups
from skill_bench.measure.memory import reset_peak, resident_peak_bytes
from skill_bench.models.checkpoint import LoadedModel
from skill_bench.records.profile import Band
from skill_bench.training.batches import cached_bytes, long_enough
from skill_bench.training.engine import Processes
from skill_bench.training.loop import Log
from skill_bench.training.options import Stage

WARM_UP_UPDATES = 1


class StageForecast(Frozen):
    """One stage. ``seconds_per_update``: mean, least and most of the timed updates."""

    name: str
    n_updates: int
    n_timed: int
    seconds_per_update: Band
    audio_seconds_per_second: float
    hours: Band
    peak_memory_bytes: Band


class TrainingForecast(Document):
    """What a distillation takes on this machine, on one device that does 1/``devices`` of each batch.

    Attributes:
        preparation_seconds: checking all audio and measuring similarity, before the first update.
        peak_memory_bytes: of the device on CUDA; of the process on a CPU, speech that it keeps included.
        disk_bytes: at most, while it runs: checkpoints (the newest twice while it is replaced) and logs.
        n_parameters: of the student.
    """

    kind: Literal["training_forecast"] = "training_forecast"
    device: str
    devices: int
    precision: str
    preparation_seconds: float
    stages: tuple[StageForecast, ...]
    hours: Band
    peak_memory_bytes: Band
    memory_is: str
    disk_bytes: int
    n_parameters: int
    n_utterances: int
    speech_hours: float


def forecast(
    teacher: LoadedModel,
    utterances: Sequence[Utterance],
    *,
    recipe: Recipe,
    processes: Processes,
    devices: int = 1,
    n_updates: int = 6,
    progress: Progress | None = None,
) -> TrainingForecast:
    """Runs ``n_updates`` of each stage in a temporary folder and extrapolates.

    Args:
        utterances: all that the distillation would get, with their ``seconds``.
        processes: one process, on the device to be forecast.
        devices: how many such devices would share each batch; what they tell each other takes time that is not seen.

    Raises:
        DataError: no utterance is long enough.
        ValueError: fewer than two updates.
    """
    if n_updates <= WARM_UP_UPDATES:
        raise ValueError(f"n_updates must be more than {WARM_UP_UPDATES}, found {n_updates}")
    on_gpu = processes.fabric.device.type == "cuda"
    probed = _shortened(recipe, n_updates, devices)
    chosen = spread(utterances, probed, n_batches=n_updates)
    names = ["joint", "final"] if recipe.joint else ["final"]
    watch = _Stopwatch(progress or Silent(), names=names, device=processes.fabric.device if on_gpu else None)
    with tempfile.TemporaryDirectory(prefix="skill-bench-plan-") as name:
        folder = Path(name)
        student = distill(teacher, chosen, recipe=probed, folder=folder, processes=processes, progress=watch)
        disk = _disk_bytes(folder, names, recipe, n_updates)
    stages = tuple(_stage(name, recipe, watch.seen[name]) for name in names)
    waiting = watch.seconds("audio check") / len(chosen) * len(utterances)
    if isinstance(recipe.groups, SimilarGroups):
        n_used = min(recipe.groups.n_calibration_utterances, len(chosen))
        n_later = min(recipe.groups.n_calibration_utterances, len(utterances))
        waiting += watch.seconds("similarity") / n_used * n_later
    hours = Band(low=waiting / 3600, estimate=waiting / 3600, high=waiting / 3600)
    for stage in stages:
        hours = hours.plus(stage.hours)
    used = long_enough(utterances, min_seconds=recipe.data.min_seconds)
    peaks = [stage.peak_memory_bytes for stage in stages]
    kept = 0.0 if on_gpu else float(cached_bytes(utterances) - cached_bytes(chosen))
    return TrainingForecast(
        device=torch.cuda.get_device_name(processes.fabric.device) if on_gpu else "cpu",
        devices=devices,
        precision=processes.engine.precision,
        preparation_seconds=waiting,
        stages=stages,
        hours=hours,
        peak_memory_bytes=Band(
            low=max(peak.low for peak in peaks) + kept,
            estimate=max(peak.estimate for peak in peaks) + kept,
            high=max(peak.high for peak in peaks) + kept,
        ),
        memory_is="allocated on the GPU" if on_gpu else "resident in the process, kept speech included",
        disk_bytes=disk,
        n_parameters=int(student.metadata["n_parameters"]),
        n_utterances=len(used),
        speech_hours=sum(u.seconds or 0.0 for u in used) / 3600,
    )


def spread(utterances: Sequence[Utterance], recipe: Recipe, *, n_batches: int) -> list[Utterance]:
    """The utterances of ``n_batches`` batches, evenly from the shortest to the longest; all if there are no more.

    Raises:
        DataError: no utterance is long enough.
    """
    data = recipe.data
    usable = sorted(long_enough(utterances, min_seconds=data.min_seconds), key=lambda u: u.seconds or 0.0)

    def fits(batch: Sequence[Utterance], utterance: Utterance) -> bool:
        return sum(min(u.seconds or 0.0, data.max_seconds) for u in (*batch, utterance)) <= data.seconds_per_batch

    batches = list(neighbours(usable, fits=fits))
    wanted = sorted({round(i) for i in np.linspace(0, len(batches) - 1, n_batches)})
    return [utterance for index in wanted for utterance in batches[index]]


def _shortened(recipe: Recipe, n_updates: int, devices: int) -> Recipe:
    def short(stage: Stage) -> Stage:
        return stage.model_copy(update={"n_updates": n_updates, "warmup_updates": 1})

    data = recipe.data.model_copy(update={"seconds_per_batch": recipe.data.seconds_per_batch / devices})
    joint = short(recipe.joint) if recipe.joint else False
    sparsity = recipe.sparsity and recipe.sparsity.model_copy(update={"tolerance": False})
    changes = {"joint": joint, "final": short(recipe.final), "data": data, "sparsity": sparsity}
    return recipe.model_copy(update=changes)


def _stage(name: str, recipe: Recipe, seen: list[_Update]) -> StageForecast:
    stage = recipe.joint if name == "joint" else recipe.final
    assert stage
    timed = seen[WARM_UP_UPDATES:]
    seconds = [one.seconds for one in timed]
    per_update = Band(low=min(seconds), estimate=statistics.fmean(seconds), high=max(seconds))
    peaks = [float(one.peak_bytes) for one in seen]
    return StageForecast(
        name=name,
        n_updates=stage.n_updates,
        n_timed=len(timed),
        seconds_per_update=per_update,
        audio_seconds_per_second=sum(one.audio_seconds for one in timed) / sum(seconds),
        hours=per_update.times(stage.n_updates / 3600),
        # A run of thousands of updates meets the longest batch: the most is what to expect.
        peak_memory_bytes=Band(low=min(peaks), estimate=max(peaks), high=max(peaks)),
    )


def _disk_bytes(folder: Path, names: Sequence[str], recipe: Recipe, n_updates: int) -> int:
    checkpoints = [path.stat().st_size for path in folder.glob("*.ckpt")]
    logs = 0.0
    for name in names:
        stage = recipe.joint if name == "joint" else recipe.final
        assert stage
        path = folder / f"{name}.csv"
        logs += path.stat().st_size * stage.n_updates / n_updates if path.exists() else 0
    return sum(checkpoints) + max(checkpoints) + round(logs)


@dataclass(frozen=True, kw_only=True)
class _Update:
    seconds: float
    audio_seconds: float
    peak_bytes: int


class _Stopwatch:
    """Passes progress on and keeps how long each stage took; of every update also its peak memory."""

    def __init__(self, shown: Progress, *, names: list[str], device: torch.device | None) -> None:
        self._shown, self._names, self._device = shown, names, device
        self._taken: dict[str, float] = {}
        self._last = 0.0
        self.seen: dict[str, list[_Update]] = {}

    @contextmanager
    def stage(self, description: str, *, total: int) -> Iterator[Advance]:
        started = perf_counter()
        with self._shown.stage(description, total=total) as advance:
            yield advance
        self._taken[description] = perf_counter() - started

    def note(self, text: str) -> None:
        self._shown.note(text)

    def update(self, training: str, number: int, n_updates: int, log: Log) -> None:
        if self._device is not None:
            torch.cuda.synchronize(self._device)
        now = perf_counter()
        if number == 1:
            self.seen[self._names[len(self.seen)]] = []
        if self._device is None:
            peak = resident_peak_bytes()
            reset_peak()
        else:
            peak = torch.cuda.max_memory_allocated(self._device)
            torch.cuda.reset_peak_memory_stats(self._device)
        stage = self.seen[self._names[len(self.seen) - 1]]
        stage.append(_Update(seconds=now - self._last, audio_seconds=log["seconds"], peak_bytes=peak))
        self._last = perf_counter()

    def seconds(self, beginning: str) -> float:
        """Of all stages whose description begins so."""
        return sum(taken for name, taken in self._taken.items() if name.startswith(beginning))
