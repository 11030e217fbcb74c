"""A forecast of a run before it is started: a short probe of this machine, then arithmetic.

Extraction is timed on utterances that are missing from the cache, taken from the short, the middle and the long ones;
they stay in the cache, so that nothing of the probe is wasted. Training is timed on the same task with few utterances
of every split (`limit`), with few steps, at the run's own batch size, learning rates and seeds.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path

import torch

from skill_bench.base.progress import Progress, Silent
from skill_bench.corpora.data import TaskData, Utterance
from skill_bench.evaluation import kinds
from skill_bench.evaluation.forecast import NOTHING, TaskForecast
from skill_bench.evaluation.solve import requests, solve
from skill_bench.evaluation.solving.cell import Cell, CellUpstream
from skill_bench.evaluation.solving.requests import Request
from skill_bench.features.cache import FeatureCache
from skill_bench.features.extract import extract
from skill_bench.features.extraction import BATCH_SECONDS
from skill_bench.features.policy import Policy, entry_keys
from skill_bench.features.stored import caches, free_bytes, root_in
from skill_bench.measure.memory import resident_peak_bytes
from skill_bench.probes.batches import RESIDENT_BYTES
from skill_bench.records.profile import Band
from skill_bench.tasks import TaskSpec, TrainedSpec, with_protocol

PROBE_LIMIT = 24
"""Utterances of each split that training is probed with."""
# Of every third, so that each thread has work of the run's own kind most of the time.
_SAMPLE_BATCHES_A_THREAD = 1.5
_PROBE_SECONDS = 2.0
# A forecast from seconds of a machine that also does other things.
_NOISE = 1.25
SEARCHED_LAYERS = 13


@dataclass(kw_only=True)
class Prober:
    """Probes the tasks of one upstream, one after the other.

    Args:
        upstream: The model.
        seeds: Of the run.
        cache_dir: Of the run.
        cache_limit_bytes: Of the run.
        batch_seconds: Of the run.
        device: Where heads are trained.
        progress: Receives the stages of the probe.
    """

    upstream: CellUpstream
    seeds: tuple[int, ...]
    cache_dir: Path
    cache_limit_bytes: int | None = None
    batch_seconds: float | None = None
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    progress: Progress = field(default_factory=Silent)

    def __post_init__(self) -> None:
        self._counted: set[tuple[str, str]] = set()
        self._room_bytes: float | None = None

    def probe(self, task: TaskSpec, whole: TaskData, few: TaskData) -> TaskForecast:
        """The forecast of one task.

        Args:
            task: Resolved for suite and protocol.
            whole: The data of the run.
            few: The same with `PROBE_LIMIT` utterances a split.

        Raises:
            DataError: the data cannot be used.
        """
        kind = kinds.load(task.kind)
        kind.check(task, whole)
        kind.check(task, few)
        parts = [self._extraction(asked) for asked in requests(task, whole)]
        features, again, audio_again = NOTHING, NOTHING, 0.0
        for part in parts:
            features = features.plus(part.seconds)
            read = audio_read_seconds(task, whole, n_seeds=len(self.seeds), stays=part.stays)
            heard = part.share_without_place * read
            audio_again, again = audio_again + heard, again.plus(part.pace.times(heard))
        return TaskForecast(
            task=task.name,
            missing_audio_seconds=sum(part.audio_seconds for part in parts),
            features_seconds=features,
            training_seconds=self._training(task, whole, few),
            disk_bytes=sum(part.disk_bytes for part in parts),
            resident_bytes=sum(part.resident_bytes for part in parts),
            recomputed_audio_seconds=audio_again,
            recomputed_seconds=again,
        )

    def _cell(self, task: TaskSpec, data: TaskData) -> Cell[TaskSpec]:
        return Cell(
            upstream=self.upstream,
            task=task,
            data=data,
            seeds=self.seeds,
            cache_dir=self.cache_dir,
            cache_limit_bytes=self.cache_limit_bytes,
            batch_seconds=self.batch_seconds,
            progress=self.progress,
            device=self.device,
        )

    def _extraction(self, asked: Request) -> _Extraction:
        policy = Policy.of(pooled=asked.pooled, max_seconds=asked.max_seconds)
        cache = FeatureCache(
            root=root_in(self.cache_dir), identity=self.upstream.identity, policy=policy.name,
            upstream=self.upstream.name,
        )  # fmt: skip
        room = self._room(cache)  # before the probe takes of it
        keys = entry_keys(asked.utterances, policy, cache_dir=self.cache_dir)
        wanted = {u.id: (policy.name, keys[u.id]) for u in asked.utterances if keys[u.id] not in cache}
        missing = [u for u in asked.utterances if u.id in wanted and wanted[u.id] not in self._counted]
        self._counted |= set(wanted.values())
        missing.sort(key=asked.seconds_of)
        sizes: dict[str, int] = {}
        paces = [self._pace(part, asked, sizes) for part in _thirds(missing)]
        rates, left = [rate for rate, _ in paces], sum(audio for _, audio in paces)
        total = sum(map(asked.seconds_of, missing))
        cache.refresh()
        sizes |= {u.id: cache.place(keys[u.id]).n_bytes for u in asked.utterances if keys[u.id] in cache}
        known = [u for u in asked.utterances if u.id in sizes]
        per_second = sum(sizes.values()) / (sum(map(asked.seconds_of, known)) or 1.0)
        per_utterance = sum(sizes.values()) / (len(known) or 1)
        whole = sum(map(asked.seconds_of, asked.utterances))
        disk = per_utterance * len(missing) if policy.pooled else per_second * total
        # Half precision on disk, single in memory.
        resident = per_utterance * len(asked.utterances) if policy.pooled else 2 * per_second * whole
        stays = resident <= RESIDENT_BYTES
        pace = Band(
            low=1 / max(rates, default=math.inf) / _NOISE,
            estimate=sum(audio / rate for rate, audio in paces) / left if left else _mean(1 / rate for rate in rates),
            high=1 / min(rates, default=math.inf) * _NOISE,
        )
        # Means that find no place on disk stay in memory.
        fitting = min(disk, room)
        self._room_bytes = room - fitting
        absent = 0.0 if policy.pooled or not disk else 1 - fitting / disk
        return _Extraction(
            audio_seconds=total,
            seconds=pace.times(left),
            disk_bytes=round(disk),
            resident_bytes=round(resident) if stays else 0,
            stays=stays,
            pace=pace,
            share_without_place=absent * total / (whole or 1.0),
        )

    def _room(self, cache: FeatureCache) -> float:
        """Bytes that the run may still add to the cache, after what was counted before."""
        if self._room_bytes is None:
            self._room_bytes = float(free_bytes(cache.root))
            if self.cache_limit_bytes is not None:  # other models' features make room
                own = sum(one.n_bytes for one in caches(cache.root) if one.folder.parent == cache.folder.parent)
                self._room_bytes = min(self._room_bytes, max(0, self.cache_limit_bytes - own))
        return self._room_bytes

    def _pace(self, part: Sequence[Utterance], asked: Request, sizes: dict[str, int]) -> tuple[float, float]:
        """Seconds of audio a second, and how much audio of ``part`` is left; the probe begins in its middle.

        ``sizes`` learns what the cache has no place for.
        """
        left = [*part[len(part) // 2 :], *part[: len(part) // 2]]
        n_at_once = torch.get_num_threads() if getattr(self.upstream, "runs_concurrently", False) else 1
        audio_seconds, found = _SAMPLE_BATCHES_A_THREAD * n_at_once * BATCH_SECONDS, (0.0, 0.0)
        while left:
            sample, left = _begin(left, asked.seconds_of, audio_seconds)
            start = time.perf_counter()
            features = extract(
                self.upstream, sample, pooled=asked.pooled, cache_dir=self.cache_dir, progress=self.progress,
                max_seconds=asked.max_seconds, cache_limit_bytes=self.cache_limit_bytes,
                batch_seconds=self.batch_seconds,
            )  # fmt: skip
            sizes |= features.bytes_without_place
            found = max(found, (sum(map(asked.seconds_of, sample)), time.perf_counter() - start))
            if found[1] >= _PROBE_SECONDS / 2:  # what a call costs besides no longer counts
                break
            audio_seconds *= 4
        heard, seconds = found
        return (heard / seconds if heard else float("inf")), sum(map(asked.seconds_of, left))

    def _training(self, task: TaskSpec, whole: TaskData, few: TaskData) -> Band:
        if not isinstance(task, TrainedSpec):
            # Every query is compared with every document.
            seconds = self._timed(task, few) * _pairs(whole) / _pairs(few)
            return Band(low=seconds / _NOISE, estimate=seconds, high=seconds * _NOISE)
        protocol = task.protocol
        step, evaluation, rest = self._step_and_evaluation(task, few)
        one = step
        race = protocol.keep_best_after_steps or protocol.steps
        if len(protocol.learning_rates) > 1 and (race < protocol.steps or protocol.extend_grid):
            one, _, _ = self._step_and_evaluation(with_protocol(task, learning_rates=protocol.learning_rates[:1]), few)
        n_evaluations = -(-protocol.steps // protocol.evaluate_every_steps)
        per_evaluation = evaluation * _n(whole, "dev") / _n(few, "dev")
        once = rest * _n(whole, "test") / _n(few, "test")
        folds = len(whole.folds) / len(few.folds)

        def of(steps: int, evaluations: int, *, later: float, first: float = step) -> float:
            """``later``: seconds of a step after the race, ``first``: before it."""
            begun = min(steps, race)
            return folds * (begun * first + (steps - begun) * later + evaluations * per_evaluation)

        # Between one learning rate and all of them may go on after the race.
        estimate = (of(protocol.steps, n_evaluations, later=one) + of(protocol.steps, n_evaluations, later=step)) / 2
        least = of(protocol.steps, n_evaluations, later=one)
        if protocol.patience_evaluations:
            evaluations = min(n_evaluations, protocol.patience_evaluations + 1)
            least = of(min(protocol.steps, evaluations * protocol.evaluate_every_steps), evaluations, later=one)
        beyond = protocol.extend_grid * of(protocol.steps, n_evaluations, later=one, first=one)
        most = of(protocol.steps, n_evaluations, later=step) + beyond
        return Band(low=(least + once) / _NOISE, estimate=estimate + once, high=(most + once) * _NOISE)

    def _step_and_evaluation(self, task: TrainedSpec, few: TaskData) -> tuple[float, float, float]:
        """Seconds of a step, of reading dev once, and of all the rest, with all learning rates and seeds."""
        task = with_protocol(task, patience_evaluations=False, keep_best_after_steps=False, extend_grid=0)
        n = 2
        base = longer = self._timed(with_protocol(task, steps=n, evaluate_every_steps=n), few)
        while longer - base < _PROBE_SECONDS and n < task.protocol.steps:
            n = min(4 * n, max(task.protocol.steps, 3))
            longer = self._timed(with_protocol(task, steps=n, evaluate_every_steps=n), few)
        step = max(longer - base, 0.0) / max(n - 2, 1)
        often = self._timed(with_protocol(task, steps=8, evaluate_every_steps=2), few)
        evaluation = max((often - base - 6 * step) / 3, 0.0)
        return step, evaluation, max(base - 2 * step - evaluation, 0.0)

    def _timed(self, task: TaskSpec, few: TaskData) -> float:
        """Wall-clock seconds of training and test, without extraction, for all seeds."""
        cell = self._cell(task, few)
        start = time.perf_counter()
        for _ in solve(cell):
            pass
        whole = time.perf_counter() - start
        features = cell.clock.seconds["features"] * len(self.seeds)
        return max(whole - features, 0.0)


def peak_memory_bytes(tasks: Iterable[TaskForecast]) -> Band:
    """Of the process: what the probe took at most, and the features that the largest task keeps."""
    resident = max((task.resident_bytes for task in tasks), default=0)
    used = resident_peak_bytes()
    return Band(low=float(used), estimate=float(used + resident), high=_NOISE * (used + resident))


@dataclass(frozen=True, kw_only=True)
class _Extraction:
    audio_seconds: float
    seconds: Band
    disk_bytes: int
    resident_bytes: int
    stays: bool = True
    pace: Band = NOTHING
    share_without_place: float = 0.0


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found) if found else 0.0


def _thirds(utterances: Sequence[Utterance]) -> Iterator[Sequence[Utterance]]:
    n = len(utterances)
    for start, end in ((0, n // 3), (n // 3, 2 * n // 3), (2 * n // 3, n)):
        if start < end:
            yield utterances[start:end]


def _begin(
    utterances: list[Utterance], seconds_of: Callable[[Utterance], float], audio_seconds: float
) -> tuple[list[Utterance], list[Utterance]]:
    """The first utterances, so much audio and at least one, and the others."""
    ends = accumulate(map(seconds_of, utterances))
    n = 1 + sum(end < audio_seconds for end in ends)
    return utterances[:n], utterances[n:]


def _n(data: TaskData, split: str) -> int:
    return max(1, sum(len(getattr(fold, split)) for fold in data.folds))


def _pairs(data: TaskData) -> int:
    return max(1, sum(len(f.queries) * len(f.test) + len(f.dev_queries) * len(f.dev) for f in data.folds))


def audio_read_seconds(task: TaskSpec, data: TaskData, *, n_seeds: int, stays: bool) -> float:
    """Audio whose frames a run reads, as often as it does, to the last step of the stated learning rates.

    A search, of which nothing is trained, reads everything twice for each of some dozen layers.

    Args:
        task: Resolved for suite and protocol.
        data: Of the run.
        n_seeds: Each reads batches of its own.
        stays: Whether training and dev are read once and then stay in memory.
    """
    protocol, total = task.protocol, 0.0
    n_dev = -(-protocol.steps // protocol.evaluate_every_steps) if protocol.steps else 0
    for fold in data.folds:
        train, dev, test = (_seconds(part) for part in (fold.train, fold.dev, fold.test))
        if protocol.steps == 0:
            total += 2 * (SEARCHED_LAYERS * (dev + _seconds(fold.dev_queries)) + test + _seconds(fold.queries))
            continue
        drawn = protocol.steps * protocol.accumulate * protocol.batch_size * train / max(1, len(fold.train))
        total += train + dev if stays else n_seeds * (drawn + n_dev * dev)
        total += n_seeds * test
    return total


def _seconds(utterances: Iterable[Utterance]) -> float:
    return sum(utterance.seconds or 0.0 for utterance in utterances)
