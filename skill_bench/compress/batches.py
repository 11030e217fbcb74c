"""Endless batches of speech for training: similar lengths together, cropped to the shortest, never padded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from skill_bench.corpora.audio import load_utterance
from skill_bench.corpora.data import Utterance
from skill_bench.corpora.decode import SAMPLE_RATE_HZ
from skill_bench.errors import DataError

_CACHE_SAMPLES = 1 << 30  # as 16-bit integers: 2 GiB, or 18 hours


@dataclass(frozen=True, kw_only=True)
class Batch:
    """``waves``: ``(utterances, samples)`` at 16 kHz, in [-1, 1]; ``ids`` names them."""

    waves: Float[Tensor, "batch samples"]
    ids: tuple[str, ...]

    @property
    def seconds(self) -> float:
        return self.waves.numel() / SAMPLE_RATE_HZ


class SpeechBatches:
    """Batches of about ``seconds_per_batch``; what batch ``n`` holds depends on the seed and ``n`` alone.

    Args:
        utterances: their ``seconds`` must be known.
        min_seconds, max_seconds: shorter utterances are left out, longer ones are cropped.

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
    ) -> None:
        self.utterances = [u for u in utterances if u.seconds is not None and u.seconds >= min_seconds]
        if not self.utterances:
            raise DataError(
                f"none of {len(utterances)} utterances lasts {min_seconds} s or more. "
                "Give more speech or lower min_seconds."
            )
        self.seconds_per_batch, self.max_seconds, self.seed = seconds_per_batch, max_seconds, seed
        self._cache: dict[str, np.ndarray[tuple[int], np.dtype[np.int16]]] = {}
        self._n_cached = 0

    @property
    def hours(self) -> float:
        return sum(u.seconds or 0.0 for u in self.utterances) / 3600

    def start_at(self, number: int) -> Iterator[Batch]:
        """Batches ``number``, ``number + 1``, ...; the next one is read while the current one is used."""
        with ThreadPoolExecutor(1) as pool:
            plans = self._plans(number)
            upcoming = pool.submit(self._read, *next(plans))
            for plan in plans:
                current, upcoming = upcoming, pool.submit(self._read, *plan)
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
        # Jitter lets neighbours in length differ from epoch to epoch.
        lengths = np.array([min(u.seconds or 0.0, self.max_seconds) for u in self.utterances])
        order = np.argsort(lengths * random.uniform(0.9, 1.1, len(lengths)), kind="stable")
        batches: list[list[Utterance]] = []
        members: list[Utterance] = []
        shortest = np.inf
        for index in order:
            shortest = min(shortest, lengths[index])
            if members and shortest * (len(members) + 1) > self.seconds_per_batch:
                batches.append(members)
                members, shortest = [], lengths[index]
            members.append(self.utterances[index])
        batches.append(members)
        return [batches[i] for i in random.permutation(len(batches))]

    def _read(self, number: int, members: list[Utterance]) -> Batch:
        random = np.random.default_rng((self.seed, 1, number))
        waves = [self._wave(u) for u in members]
        n_samples = min(min(len(w) for w in waves), int(self.max_seconds * SAMPLE_RATE_HZ))
        offsets = [int(random.integers(0, len(w) - n_samples + 1)) for w in waves]
        cropped = np.stack([w[o : o + n_samples] for w, o in zip(waves, offsets, strict=True)])
        return Batch(waves=torch.from_numpy(cropped).float() / 32768, ids=tuple(u.id for u in members))

    def _wave(self, utterance: Utterance) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
        if (cached := self._cache.get(utterance.id)) is not None:
            return cached
        samples = load_utterance(utterance).waveform.numpy()
        wave = np.clip(np.round(samples * 32768), -32768, 32767).astype(np.int16)
        if self._n_cached + len(wave) <= _CACHE_SAMPLES:
            self._cache[utterance.id] = wave
            self._n_cached += len(wave)
        return wave
