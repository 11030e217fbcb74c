"""Fills the cache with what it lacks, in blocks that processes share, and gives out what it has."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from skill_bench.base.counted import counted
from skill_bench.base.hashed import digest
from skill_bench.base.in_order import neighbours
from skill_bench.base.progress import Advance
from skill_bench.base.sample_rate import SAMPLE_RATE_HZ
from skill_bench.corpora.data import Utterance
from skill_bench.features import stored
from skill_bench.features.cache import FeatureCache, KeptFeatures
from skill_bench.features.lanes import CudaLanes
from skill_bench.features.memory import estimate_of, refusal, too_long
from skill_bench.features.on_cpu import OnCpu
from skill_bench.features.on_gpu import OnGpu
from skill_bench.features.policy import Policy, entry_keys
from skill_bench.features.source import Batches, Computer, FeatureSource

# On a CPU larger batches gain nothing more; a GPU puts together what fits its memory.
BATCH_SECONDS, MAX_BATCH = 16.0, 32
# One shard of the cache: a minute of frames is 64 MB in a base model; means are so small that ten are few bytes.
SHARD_SECONDS_OF_FRAMES, SHARD_SECONDS_OF_MEANS = 60.0, 600.0


@dataclass
class Extraction:
    """Computes what the cache lacks, and gives out what it has."""

    upstream: FeatureSource
    policy: Policy = field(kw_only=True)
    cache_dir: Path = field(kw_only=True)
    limit_bytes: int | None = field(kw_only=True)
    batch_seconds: float | None = field(kw_only=True)
    n_threads: int = field(kw_only=True)

    def __post_init__(self) -> None:
        self.root = stored.root_in(self.cache_dir)
        self.cache = FeatureCache(
            root=self.root, identity=self.upstream.identity, policy=self.policy.name, upstream=self.upstream.name
        )
        self.n_extracted = 0
        self.frame_counts: dict[str, int] = {}
        self.resampled: set[str] = set()
        self.averaged: set[str] = set()
        self._seen: dict[str, Utterance] = {}
        self._keys: dict[str, str] = {}
        self.bytes_without_place: dict[str, int] = {}
        self._in_memory: dict[str, KeptFeatures] = {}
        self._full = ""
        self._one_at_a_time = threading.Lock()
        self._estimate = estimate_of(self.upstream)
        self._computer = self._on_its_device()

    def _on_its_device(self) -> Computer:
        device: torch.device = getattr(self.upstream, "device", torch.device("cpu"))
        if device.type == "cpu":
            return OnCpu(self.upstream, policy=self.policy, n_threads=self.n_threads)
        return OnGpu(
            self.upstream,
            policy=self.policy,
            lanes=CudaLanes(device),
            batch_seconds=self.batch_seconds,
            n_decoders=self.n_threads,
        )

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
        waiting: list[Batches] = []
        self._fill(self._claimed(self._blocks(utterances), advance, of_others=waiting), advance)
        for block in waiting:  # one at a time: who waits for another process holds nothing that it may wait for
            self._fill(self._claimed([block], advance), advance)

    def fetch(self, utterances: Sequence[Utterance]) -> list[Tensor]:
        """The features of utterances that `run` has seen; shards found damaged are extracted again.

        Threads may call it: one is served at a time.
        """
        with self._one_at_a_time:
            return self._fetched(utterances)

    def _fetched(self, utterances: Sequence[Utterance]) -> list[Tensor]:
        found = {utterance.id: self._kept(utterance) for utterance in utterances}
        if any(entry is None and name not in self.bytes_without_place for name, entry in found.items()):
            self._recover()
            found = {utterance.id: self._kept(utterance) for utterance in utterances}
        absent = [utterance for utterance in utterances if found[utterance.id] is None]
        if absent:
            block = list(self._batches(absent))
            found |= {u.id: entry for computed in self._computer.compute(iter([block])) for u, entry in computed}
        return [entry.features for utterance in utterances if (entry := found[utterance.id]) is not None]

    def notes(self) -> tuple[str, ...]:
        """What the limit, the disk, or a folder that may only be read, kept out of the cache."""
        n, size = len(self.bytes_without_place), sum(self.bytes_without_place.values())
        if not n:
            return ()
        what = "means stay in memory for this run" if self.policy.pooled else "frames are computed again at every use"
        why = f"do not fit {self._full}" if self.cache.is_writable else "are not in the cache, which is read-only"
        return (f"{counted(n, 'utterance')} ({size / 1e9:.3g} GB) {why}: their {what}",)

    def _kept(self, utterance: Utterance) -> KeptFeatures | None:
        key = self._keys[utterance.id]
        return self._in_memory.get(key) or self.cache.read(key)

    def _recover(self) -> None:
        """Extracts again what was in a damaged or deleted shard."""
        self.cache.refresh()
        known = (utterance for name, utterance in self._seen.items() if name not in self.bytes_without_place)
        self.run([utterance for utterance in known if self._keys[utterance.id] not in self.cache], lambda n: None)

    def _blocks(self, utterances: Sequence[Utterance]) -> Iterator[Batches]:
        """Consecutive batches that make one shard."""
        shard_seconds = SHARD_SECONDS_OF_MEANS if self.policy.pooled else SHARD_SECONDS_OF_FRAMES

        def fits(block: Sequence[list[Utterance]], _: list[Utterance]) -> bool:
            return sum(sum(map(_seconds, batch)) for batch in block) < shard_seconds

        return neighbours(self._batches(utterances), fits=fits)

    def _batches(self, utterances: Sequence[Utterance]) -> Iterator[list[Utterance]]:
        """Batches of similar length, of at most ``batch_seconds`` of padded audio (or one utterance).

        The longest first: what is too much for the memory fails at once, and what later batches need is there already.
        """
        most = self.batch_seconds or BATCH_SECONDS

        def fits(batch: Sequence[Utterance], _: Utterance) -> bool:
            return len(batch) < MAX_BATCH and (len(batch) + 1) * _seconds(batch[0]) <= most

        return neighbours(sorted(utterances, key=lambda u: (-_seconds(u), u.id)), fits=fits)

    def _name(self, block: Batches) -> str:
        keys = [self._keys[utterance.id] for batch in block for utterance in batch]
        return digest("\n".join(keys))[:32]

    def _claimed(
        self, blocks: Iterable[Batches], advance: Advance, *, of_others: list[Batches] | None = None
    ) -> Iterator[_Claimed]:
        """The blocks that lack something, each claimed when it is asked for.

        Another process may be at the same block: first come, first served. Its blocks are put to ``of_others``, or
        waited for where that is None.
        """
        for block in blocks:
            with ExitStack() as claim:
                if not self._lacking(block):
                    self._finish(block, {})
                    advance(sum(map(len, block)))
                    continue
                if not claim.enter_context(self.cache.claim(self._name(block), wait=of_others is None)):
                    assert of_others is not None
                    of_others.append(block)
                    continue
                self.cache.refresh()
                lacking = self._lacking(block)
                advance(sum(map(len, block)) - sum(map(len, lacking)))
                if lacking:
                    yield _Claimed(block, lacking=lacking, claim=claim.pop_all())
                else:
                    self._finish(block, {})

    def _lacking(self, block: Batches) -> Batches:
        """A batch holds the same utterances whether some are cached or not: a rerun gives the same numbers."""
        return [batch for batch in block if any(self._keys[utterance.id] not in self.cache for utterance in batch)]

    def _fill(self, blocks: Iterator[_Claimed], advance: Advance) -> None:
        """Computes blocks, the next ones perhaps while one is not finished, and stores each with its last utterance."""
        begun: deque[_Claimed] = deque()

        def lacking() -> Iterator[Batches]:
            for block in blocks:
                begun.append(block)
                yield block.lacking

        try:
            with closing(self._computer.compute(lacking())) as computing:
                for computed in computing:
                    for utterance, entry in computed:
                        begun[0].take(self._keys[utterance.id], entry)
                        if begun[0].n_left == 0:
                            self._close(begun.popleft(), is_finished=True)
                    advance(len(computed))
        finally:  # an interruption keeps what is computed
            for block in begun:
                self._close(block, is_finished=False)

    def _close(self, block: _Claimed, *, is_finished: bool) -> None:
        with block.claim:
            entries = {key: entry for key, entry in block.entries.items() if key not in self.cache}
            self.n_extracted += len(entries)
            without_place = self._store(entries)
            if is_finished:
                self._finish(block.block, without_place)

    def _store(self, entries: dict[str, KeptFeatures]) -> dict[str, KeptFeatures]:
        """Writes what fits; returns the others."""
        if not entries or not self.cache.is_writable:
            return entries
        size = sum(entry.features.nbytes for entry in entries.values())
        if self.limit_bytes is not None and not stored.make_room(self.root, n_bytes=size, limit_bytes=self.limit_bytes):
            self._full = "the cache limit"
        elif size > stored.free_bytes(self.root):
            self._full = "the disk"
        else:
            self.cache.write(entries)
            return {}
        return entries

    def _finish(self, block: Batches, without_place: Mapping[str, KeptFeatures]) -> None:
        for batch in block:
            for utterance in batch:
                self._note_facts(utterance, without_place.get(self._keys[utterance.id]))

    def _note_facts(self, utterance: Utterance, without_place: KeptFeatures | None) -> None:
        key = self._keys[utterance.id]
        if without_place is not None:
            self.bytes_without_place[utterance.id] = without_place.features.nbytes
            if self.policy.pooled:
                self._in_memory[key] = without_place
        facts = self.cache.place(key) if without_place is None else without_place
        if not self.policy.pooled:
            self.frame_counts[utterance.id] = facts.shape[1]
        if facts.original_rate_hz != SAMPLE_RATE_HZ:
            self.resampled.add(utterance.id)
        if facts.original_channels > 1:
            self.averaged.add(utterance.id)


@dataclass
class _Claimed:
    """A block that this process alone works on until ``claim`` is closed."""

    block: Batches
    lacking: Batches = field(kw_only=True)
    claim: ExitStack = field(kw_only=True)
    entries: dict[str, KeptFeatures] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.n_left = sum(map(len, self.lacking))

    def take(self, key: str, entry: KeptFeatures) -> None:
        self.n_left -= 1
        self.entries.setdefault(key, entry)


def _seconds(utterance: Utterance) -> float:
    """The stated duration, or a guess from the file's size; it only decides the batches."""
    if utterance.seconds is not None:
        return utterance.seconds
    return utterance.path.stat().st_size / (2 * SAMPLE_RATE_HZ) if utterance.path.is_file() else 0.0
