"""Endless batches of speech for training: similar lengths together, cropped to the shortest, never padded."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from skill_bench.base.counted import counted
from skill_bench.base.errors import DataError
from skill_bench.base.in_order import neighbours
from skill_bench.base.sample_rate import SAMPLE_RATE_HZ
from skill_bench.corpora.audio.audio import load_utterance
from skill_bench.corpora.audio.decode import length
from skill_bench.corpora.data import Utterance

_CACHE_SAMPLES = 1 << 30  # as 16-bit integers: 2 GiB, or 18 hours
_READERS = 4
_EXACT_SAMPLES = 1 << 22  # up to here torchaudio's float32 lengths are at most one sample off


def cached_bytes(utterances: Sequence[Utterance]) -> int:
    """What :class:`SpeechBatches` comes to keep of ``utterances`` in memory; their ``seconds`` must be known."""
    return 2 * min(round(sum(u.seconds or 0.0 for u in utterances) * SAMPLE_RATE_HZ), _CACHE_SAMPLES)


def long_enough(utterances: Sequence[Utterance], *, min_seconds: float) -> list[Utterance]:
    """Those that take part.

    Raises:
        DataError: none.
    """
    found = [u for u in utterances if u.seconds is not None and u.seconds >= min_seconds]
    if not found:
        raise DataError(
            f"none of {counted(len(utterances), 'utterance')} lasts {min_seconds} s or more. "
            "Give more speech, or lower the limit (--set data.min_seconds=0.5)."
        )
    return found


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Speech for one forward pass.

    Attributes:
        waves: ``(utterances, samples)`` at 16 kHz, in [-1, 1].
        ids: of the utterances.
        share: of the whole batch, over all passes and processes; 0 where there are fewer utterances than processes.
    """

    waves: Float[Tensor, "batch samples"]
    ids: tuple[str, ...]
    share: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Part:
    """What one process takes of every batch, in passes of at most ``max_seconds`` of audio (but one utterance)."""

    rank: int = 0
    world_size: int = 1
    max_seconds: float = math.inf

    def passes(self, n_utterances: int, *, seconds_each: float) -> list[tuple[range, float]]:
        """Positions in the batch and share of it, for each pass; the shares of all processes sum to 1."""
        mine = range(self.rank, n_utterances, self.world_size)
        if not mine:
            return [(range(n_utterances - 1, n_utterances), 0.0)]  # every process takes part in every update
        size = max(1, int(min(self.max_seconds / seconds_each, len(mine))))
        chunks = [mine[start : start + size] for start in range(0, len(mine), size)]
        return [(chunk, len(chunk) / n_utterances) for chunk in chunks]


@dataclass(frozen=True, kw_only=True)
class PlannedBatch:
    """Batch ``number``: its utterances and what is cropped out of each."""

    number: int
    members: tuple[Utterance, ...]
    n_samples: int
    offsets: tuple[int, ...]

    @property
    def seconds(self) -> float:
        return len(self.members) * self.n_samples / SAMPLE_RATE_HZ

    def ids(self, part: Part) -> list[str]:
        """Utterances of one process."""
        passes = part.passes(len(self.members), seconds_each=self.n_samples / SAMPLE_RATE_HZ)
        return [self.members[index].id for chunk, _ in passes for index in chunk]


class SpeechBatches:
    """Batches of about ``seconds_per_batch``; what batch ``n`` holds depends on the seed and ``n`` alone.

    So the same batches come with any number of processes, and after any interruption.

    Args:
        utterances: their ``seconds`` must be known.
        min_seconds, max_seconds: shorter utterances are left out, longer ones are cropped.
        length_jitter: lengths are multiplied by a factor so far from 1 before they are sorted, so that neighbours in
            length differ from epoch to epoch.

    Raises:
        DataError: no utterance is long enough.

    The scheme (buckets by length, one random crop to the shortest utterance) is DPHuBERT's, dataset/audio_dataset.py.
    """

    def __init__(
        self,
        utterances: Sequence[Utterance],
        *,
        seconds_per_batch: float,
        min_seconds: float,
        max_seconds: float,
        seed: int,
        length_jitter: float = 0.1,
    ) -> None:
        self.length_jitter = length_jitter
        self.utterances = long_enough(utterances, min_seconds=min_seconds)
        self.seconds_per_batch, self.max_seconds, self.seed = seconds_per_batch, max_seconds, seed
        self._cache: dict[str, np.ndarray[tuple[int], np.dtype[np.int16]]] = {}
        self._n_cached = 0
        self._lengths: dict[str, int] = {}

    @property
    def hours(self) -> float:
        return sum(u.seconds or 0.0 for u in self.utterances) / 3600

    def start_at(self, number: int, part: Part | None = None) -> Iterator[tuple[PlannedBatch, tuple[Batch, ...]]]:
        """Batches ``number``, ``number + 1``, ... as the passes of one process; default: one process, one pass.

        The next batch is read while the current one is used.
        """
        part = part or Part()
        with ThreadPoolExecutor(1) as ahead, ThreadPoolExecutor(_READERS) as readers:
            plans = self._plans(number)
            upcoming = ahead.submit(self._read, *next(plans), part, readers)
            for planned in plans:
                current, upcoming = upcoming, ahead.submit(self._read, *planned, part, readers)
                yield current.result()

    def _plans(self, start: int) -> Iterator[tuple[int, list[Utterance]]]:
        number, epoch = 0, 0
        while True:
            for members in self._epoch(epoch):
                if number >= start:
                    yield number, members
                number += 1
            epoch += 1

    def _epoch(self, epoch: int) -> list[list[Utterance]]:
        random = np.random.default_rng((self.seed, 0, epoch))
        low, high = 1 - self.length_jitter, 1 + self.length_jitter
        lengths = np.array([min(u.seconds or 0.0, self.max_seconds) for u in self.utterances])
        order = np.argsort(lengths * random.uniform(low, high, len(lengths)), kind="stable")
        known: list[float] = lengths.tolist()

        def fits(batch: Sequence[int], index: int) -> bool:
            return min(known[i] for i in (*batch, index)) * (len(batch) + 1) <= self.seconds_per_batch

        batches = list(neighbours(order.tolist(), fits=fits))
        return [[self.utterances[index] for index in batches[i]] for i in random.permutation(len(batches))]

    def _read(
        self, number: int, members: list[Utterance], part: Part, readers: ThreadPoolExecutor
    ) -> tuple[PlannedBatch, tuple[Batch, ...]]:
        random = np.random.default_rng((self.seed, 1, number))
        lengths = list(readers.map(self._length, members))
        n_samples = min(*lengths, int(self.max_seconds * SAMPLE_RATE_HZ))
        offsets = tuple(int(random.integers(0, n - n_samples + 1)) for n in lengths)
        plan = PlannedBatch(number=number, members=tuple(members), n_samples=n_samples, offsets=offsets)
        batches = []
        for chunk, share in part.passes(len(members), seconds_each=n_samples / SAMPLE_RATE_HZ):
            waves = readers.map(self._wave, [members[index] for index in chunk])
            cropped = np.stack(
                [wave[offsets[i] : offsets[i] + n_samples] for i, wave in zip(chunk, waves, strict=True)]
            )
            ids = tuple(members[index].id for index in chunk)
            batches.append(Batch(waves=torch.from_numpy(cropped).float() / 32768, ids=ids, share=share))
        return plan, tuple(batches)

    def _length(self, utterance: Utterance) -> int:
        """Samples at 16 kHz, from the header: other processes read the audio."""
        if (known := self._lengths.get(utterance.id)) is None:
            whole = length(utterance.path, source=utterance.source)
            n_frames, rate_hz = whole.frames, whole.rate_hz
            known = -(-(utterance.n_frames or n_frames) * SAMPLE_RATE_HZ // rate_hz)
            self._lengths[utterance.id] = known
        return known

    def _wave(self, utterance: Utterance) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
        if (cached := self._cache.get(utterance.id)) is not None:
            return cached
        samples = load_utterance(utterance).waveform.numpy()
        wave = np.clip(np.round(samples * 32768), -32768, 32767).astype(np.int16)
        expected = self._length(utterance)
        # Resampling rounds the length in float32, which is not always the exact one.
        if abs(len(wave) - expected) > 1 + expected // _EXACT_SAMPLES:
            raise DataError(
                f"{utterance.path} ({utterance.source}): has {len(wave)} samples at 16 kHz, its header said "
                f"{expected}. The file changed while it was used; start again."
            )
        wave = np.pad(wave[:expected], (0, max(0, expected - len(wave))))
        if self._n_cached + len(wave) <= _CACHE_SAMPLES:
            self._cache[utterance.id] = wave
            self._n_cached += len(wave)
        return wave
