"""Fills the cache with what it lacks, in blocks that processes share, and gives out what it has."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from skill_bench.base.errors import DataError
from skill_bench.base.neighbours import neighbours
from skill_bench.base.progress import Advance
from skill_bench.base.sample_rate import SAMPLE_RATE_HZ
from skill_bench.corpora.audio.audio import Audio, load_utterance
from skill_bench.corpora.data import Utterance
from skill_bench.features import freed_memory, stored
from skill_bench.features.cache import FeatureCache, KeptFeatures
from skill_bench.features.memory import at_once, estimate_of, refusal, too_long
from skill_bench.features.policy import Policy, cut, entry_keys
from skill_bench.models.threads import threads

# On a CPU larger batches gain nothing more; on a GPU the caller asks for more.
BATCH_SECONDS, MAX_BATCH = 16.0, 32
# One shard of the cache: a minute of frames is 64 MB in a base model; means are so small that ten are few bytes.
SHARD_SECONDS_OF_FRAMES, SHARD_SECONDS_OF_MEANS = 60.0, 600.0

Batches = list[list[Utterance]]


class FeatureSource(Protocol):
    """What extraction needs of an upstream (see `skill_bench.upstream.interface.Upstream`).

    Where it has a true attribute ``runs_concurrently``, several threads call ``hidden_states`` at a time; where it has
    a method ``utterance_bytes``, as many as fit into the memory, and what alone does not is refused.
    """

    name: str
    identity: str

    def hidden_states(self, waves: list[Tensor]) -> list[Tensor]:
        """One ``(layers, frames, dim)`` tensor for each ``(samples,)`` wave, independent of its batch mates."""
        ...


@dataclass
class Extraction:
    """Computes what the cache lacks, and gives out what it has."""

    upstream: FeatureSource
    policy: Policy = field(kw_only=True)
    cache_dir: Path = field(kw_only=True)
    limit_bytes: int | None = field(kw_only=True)
    batch_seconds: float = field(kw_only=True)
    n_threads: int = field(kw_only=True)

    def __post_init__(self) -> None:
        self.root = self.cache_dir / "features"
        self.cache = FeatureCache(
            root=self.root, identity=self.upstream.identity, policy=self.policy.name, upstream=self.upstream.name
        )
        self.n_extracted = 0
        self.frame_counts: dict[str, int] = {}
        self.resampled: set[str] = set()
        self.averaged: set[str] = set()
        self._seen: dict[str, Utterance] = {}
        self._keys: dict[str, str] = {}
        self._bytes_without_place: dict[str, int] = {}
        self._in_memory: dict[str, KeptFeatures] = {}
        self._estimate = estimate_of(self.upstream)

    def require_memory(self, utterances: Sequence[Utterance]) -> None:
        """Checks that what the cache lacks can be extracted, each utterance alone.

        Raises:
            DataError: names the longest that cannot, what it needs and what there is.
        """
        suspected = too_long(utterances, estimate=self._estimate, max_samples=self.policy.max_samples)
        keys = entry_keys([utterance for utterance, _, _ in suspected], self.policy, cache_dir=self.cache_dir)
        for utterance, needed, available in suspected:
            if keys[utterance.id] not in self.cache:
                raise refusal(utterance, needed=needed, available=available, upstream=self.upstream.name)

    def run(self, utterances: Sequence[Utterance], advance: Advance) -> None:
        """Leaves every utterance in the cache, or known as one that does not fit.

        Raises:
            DataError: an utterance is too long for the memory.
        """
        self._seen |= {utterance.id: utterance for utterance in utterances}
        self._keys |= entry_keys(utterances, self.policy, cache_dir=self.cache_dir)
        self.require_memory(utterances)
        waiting = []
        for block in self._blocks(utterances):
            if self._is_complete(block):
                self._finish(block, advance)
                continue
            # Another process may be at the same block: first come, first served.
            with self.cache.claim(self._name(block)) as mine:
                if mine:
                    self._work(block, advance)
                else:
                    waiting.append(block)
        for block in waiting:
            with self.cache.claim(self._name(block), wait=True):
                self._work(block, advance)

    def fetch(self, utterances: Sequence[Utterance]) -> list[Tensor]:
        """The features of utterances that `run` has seen; shards found damaged are extracted again."""
        found = {utterance.id: self._kept(utterance) for utterance in utterances}
        if any(entry is None and name not in self._bytes_without_place for name, entry in found.items()):
            self._recover()
            found = {utterance.id: self._kept(utterance) for utterance in utterances}
        absent = [utterance for utterance in utterances if found[utterance.id] is None]
        if absent:
            with threads(self.n_threads):
                found |= {utterance.id: entry for utterance, entry in self._compute(absent)}
        return [entry.features for utterance in utterances if (entry := found[utterance.id]) is not None]

    def notes(self) -> tuple[str, ...]:
        """What the limit, or a folder that may only be read, kept out of the cache."""
        n, size = len(self._bytes_without_place), sum(self._bytes_without_place.values())
        if not n:
            return ()
        what = "means stay in memory for this run" if self.policy.pooled else "frames are computed again at every use"
        why = "do not fit the cache limit" if self.cache.is_writable else "are not in the cache, which is read-only"
        return (f"{n} utterances ({size / 1e9:.3g} GB) {why}: their {what}",)

    def _kept(self, utterance: Utterance) -> KeptFeatures | None:
        key = self._keys[utterance.id]
        return self._in_memory.get(key) or self.cache.read(key)

    def _recover(self) -> None:
        """Extracts again what was in a damaged or deleted shard."""
        self.cache.refresh()
        known = (utterance for name, utterance in self._seen.items() if name not in self._bytes_without_place)
        self.run([utterance for utterance in known if self._keys[utterance.id] not in self.cache], lambda n: None)

    def _blocks(self, utterances: Sequence[Utterance]) -> Iterator[Batches]:
        """Consecutive batches that make one shard."""
        shard_seconds = SHARD_SECONDS_OF_MEANS if self.policy.pooled else SHARD_SECONDS_OF_FRAMES

        def fits(block: Sequence[list[Utterance]], _: list[Utterance]) -> bool:
            return sum(sum(map(_seconds, batch)) for batch in block) < shard_seconds

        return neighbours(_batches(utterances, batch_seconds=self.batch_seconds), fits=fits)

    def _name(self, block: Batches) -> str:
        keys = [self._keys[utterance.id] for batch in block for utterance in batch]
        return hashlib.sha256("\n".join(keys).encode()).hexdigest()[:32]

    def _is_complete(self, block: Batches) -> bool:
        return all(self._keys[utterance.id] in self.cache for batch in block for utterance in batch)

    def _work(self, block: Batches, advance: Advance) -> None:
        self.cache.refresh()
        entries: dict[str, KeptFeatures] = {}
        try:
            for batch, computed in self._computed(block):
                for utterance, entry in computed:
                    if (key := self._keys[utterance.id]) not in self.cache and key not in entries:
                        entries[key] = entry
                        self.n_extracted += 1
                advance(len(batch))
        finally:  # an interruption keeps the batches that are finished
            without_place = self._store(entries)
            freed_memory.return_to_system()
        for batch in block:
            for utterance in batch:
                self._note_facts(utterance, without_place.get(self._keys[utterance.id]))

    def _computed(self, block: Batches) -> Iterator[tuple[list[Utterance], list[tuple[Utterance, KeptFeatures]]]]:
        """Every batch with what was computed of it, in order.

        Several batches at a time, each by one thread, where the upstream allows it: sums over several threads round
        otherwise, so that features, and the scores that are made from them, would depend on the machine's cores.
        """

        def compute(batch: list[Utterance]) -> list[tuple[Utterance, KeptFeatures]]:
            # A batch holds the same utterances whether some are cached or not: a rerun gives the same numbers.
            missing = any(self._keys[utterance.id] not in self.cache for utterance in batch)
            return self._compute(batch) if missing else []

        if not getattr(self.upstream, "runs_concurrently", False):
            with threads(self.n_threads):
                yield from ((batch, compute(batch)) for batch in block)
            return
        n_threads = at_once(block, self.n_threads, estimate=self._estimate, max_samples=self.policy.max_samples)
        pool = ThreadPoolExecutor(n_threads)
        try:
            with threads(1):
                yield from zip(block, pool.map(compute, block), strict=True)
        finally:
            pool.shutdown(cancel_futures=True)

    def _store(self, entries: dict[str, KeptFeatures]) -> dict[str, KeptFeatures]:
        """Writes what fits the limit; returns the others."""
        if not entries or not self.cache.is_writable:
            return entries
        size = sum(entry.features.nbytes for entry in entries.values())
        if self.limit_bytes is None or stored.make_room(self.root, n_bytes=size, limit_bytes=self.limit_bytes):
            self.cache.write(entries)
            return {}
        return entries

    def _finish(self, block: Batches, advance: Advance) -> None:
        for batch in block:
            for utterance in batch:
                self._note_facts(utterance, None)
            advance(len(batch))

    def _note_facts(self, utterance: Utterance, without_place: KeptFeatures | None) -> None:
        key = self._keys[utterance.id]
        if without_place is not None:
            self._bytes_without_place[utterance.id] = without_place.features.nbytes
            if self.policy.pooled:
                self._in_memory[key] = without_place
        facts = self.cache.place(key) if without_place is None else without_place
        if not self.policy.pooled:
            self.frame_counts[utterance.id] = facts.shape[1]
        if facts.original_rate_hz != SAMPLE_RATE_HZ:
            self.resampled.add(utterance.id)
        if facts.original_channels > 1:
            self.averaged.add(utterance.id)

    def _compute(self, utterances: Sequence[Utterance]) -> list[tuple[Utterance, KeptFeatures]]:
        audios = [load_utterance(utterance) for utterance in utterances]
        waves = [
            cut(audio.waveform, utterance, max_samples=self.policy.max_samples)
            for audio, utterance in zip(audios, utterances, strict=True)
        ]
        with torch.no_grad():
            found = self.upstream.hidden_states(waves)
        return [
            (utterance, self._entry(states, utterance, audio))
            for utterance, audio, states in zip(utterances, audios, found, strict=True)
        ]

    def _entry(self, states: Float[Tensor, "layers frames dim"], utterance: Utterance, audio: Audio) -> KeptFeatures:
        if states.ndim != 3 or states.shape[1] == 0 or not torch.isfinite(states).all():
            what = f"shape {tuple(states.shape)}" if states.ndim != 3 or states.shape[1] == 0 else "NaN or infinity"
            raise DataError(
                f"upstream {self.upstream.name!r} returned {what} for utterance {utterance.id!r} ({utterance.path}, "
                f"{utterance.source}); finite features of shape (layers, frames, dim) are needed. "
                "Check the checkpoint, or remove the utterance from the manifest."
            )
        if self.policy.pooled:
            features = states.mean(dim=1, dtype=torch.float64).float()
        else:
            features = states.half()
            if not torch.isfinite(features).all():
                features = states.float()
        return KeptFeatures(
            features=features.cpu(),
            original_rate_hz=audio.original_rate_hz,
            original_channels=audio.original_channels,
        )


def _batches(utterances: Sequence[Utterance], *, batch_seconds: float) -> Iterator[list[Utterance]]:
    """Batches of similar length, of at most ``batch_seconds`` of padded audio (or one utterance).

    The longest first: what is too much for the memory fails at once, and what later batches need is there already.
    """

    def fits(batch: Sequence[Utterance], _: Utterance) -> bool:
        return len(batch) < MAX_BATCH and (len(batch) + 1) * _seconds(batch[0]) <= batch_seconds

    return neighbours(sorted(utterances, key=lambda u: (-_seconds(u), u.id)), fits=fits)


def _seconds(utterance: Utterance) -> float:
    """The stated duration, or a guess from the file's size; it only decides the batches."""
    if utterance.seconds is not None:
        return utterance.seconds
    return utterance.path.stat().st_size / (2 * SAMPLE_RATE_HZ) if utterance.path.is_file() else 0.0
