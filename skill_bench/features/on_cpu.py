"""Extraction on a CPU: several batches at a time, each by one thread, where the upstream allows it."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import torch

from skill_bench.corpora.audio.audio import load_utterance
from skill_bench.corpora.data import Utterance
from skill_bench.features import memory
from skill_bench.features.memory import at_once, estimate_of
from skill_bench.features.policy import Policy, cut
from skill_bench.features.source import Batches, Computed, FeatureSource, kept
from skill_bench.models.arithmetic import threads


@dataclass(frozen=True)
class OnCpu:
    """See `skill_bench.features.source.Computer`."""

    upstream: FeatureSource
    policy: Policy = field(kw_only=True)
    n_threads: int = field(kw_only=True)

    def compute(self, blocks: Iterator[Batches]) -> Generator[Computed]:
        """Block by block.

        Sums over several threads round otherwise, so that features, and the scores that are made from them, would
        depend on the machine's cores.
        """
        for block in blocks:
            if getattr(self.upstream, "runs_concurrently", False):
                yield from self._together(block)
            else:
                for batch in block:
                    with threads(self.n_threads):
                        computed = self._batch(batch)
                    yield computed
            memory.return_to_system()

    def _together(self, block: Batches) -> Generator[Computed]:
        estimate, most = estimate_of(self.upstream), self.policy.max_samples
        pool = ThreadPoolExecutor(at_once(block, self.n_threads, estimate=estimate, max_samples=most))
        try:
            with threads(1):
                yield from pool.map(self._batch, block)
        finally:
            pool.shutdown(cancel_futures=True)

    def _batch(self, utterances: list[Utterance]) -> Computed:
        audios = [load_utterance(utterance) for utterance in utterances]
        waves = [
            cut(audio.waveform, utterance, max_samples=self.policy.max_samples)
            for audio, utterance in zip(audios, utterances, strict=True)
        ]
        with torch.no_grad():
            found = self.upstream.hidden_states(waves)
        return [
            (utterance, kept(states, utterance, audio, pooled=self.policy.pooled, upstream=self.upstream.name))
            for utterance, audio, states in zip(utterances, audios, found, strict=True)
        ]
