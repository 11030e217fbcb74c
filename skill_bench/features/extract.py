"""Runs a frozen upstream over utterances, once each, through the cache."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from skill_bench.base.progress import Progress, Silent
from skill_bench.corpora.data import Utterance
from skill_bench.features.extraction import Extraction
from skill_bench.features.memory import estimate_of, too_long
from skill_bench.features.policy import Policy
from skill_bench.features.source import FeatureSource

__all__ = ["FeatureSource", "Features", "extract", "require_memory"]


class Features(Mapping[str, Tensor]):
    """Features by utterance id, read from the cache at each access: memory does not grow with the corpus.

    Attributes:
        policy: What was extracted and how, for the record.
        n_extracted: How many utterances the upstream was run on now; the others came from the cache.
        n_resampled: How many files had another rate than 16 kHz.
        n_channels_averaged: How many files had more than one channel.
        frame_counts: Number of frames of each utterance, where frames are kept.
        notes: Facts for the record: what did not fit the cache.
    """

    def __init__(self, extraction: Extraction, utterances: Sequence[Utterance]) -> None:
        self.policy = extraction.policy.name
        self._extraction = extraction
        self._utterances = {utterance.id: utterance for utterance in utterances}
        self.frame_counts = dict(extraction.frame_counts)
        self.notes = extraction.notes()

    @property
    def n_extracted(self) -> int:
        return self._extraction.n_extracted

    @property
    def n_resampled(self) -> int:
        return len(self._extraction.resampled)

    @property
    def n_channels_averaged(self) -> int:
        return len(self._extraction.averaged)

    @property
    def are_recomputed(self) -> bool:
        """Whether the frames of some have no place in the cache: reading them runs the upstream."""
        return bool(self.bytes_without_place) and not self._extraction.policy.pooled

    @property
    def bytes_without_place(self) -> Mapping[str, int]:
        """What the cache could not keep, by utterance id."""
        return self._extraction.bytes_without_place

    def __getitem__(self, utterance_id: str) -> Tensor:
        return self.fetch([utterance_id])[0]

    def fetch(self, utterance_ids: Sequence[str]) -> list[Tensor]:
        """Several utterances: what the cache could not hold is computed again in one go."""
        return self._extraction.fetch([self._utterances[utterance_id] for utterance_id in utterance_ids])

    def __iter__(self) -> Iterator[str]:
        return iter(self._utterances)

    def __len__(self) -> int:
        return len(self._utterances)


def extract(
    upstream: FeatureSource,
    utterances: Sequence[Utterance],
    *,
    pooled: bool,
    cache_dir: Path,
    cache_limit_bytes: int | None = None,
    progress: Progress | None = None,
    max_seconds: float | None = None,
    batch_seconds: float | None = None,
    n_threads: int | None = None,
) -> Features:
    """The hidden states of utterances, from the cache or from the upstream.

    Processes that extract the same at the same time share the work.

    Args:
        upstream: The frozen model.
        utterances: What to extract; ids must differ.
        pooled: As `Policy.pooled`.
        cache_dir: Folder of the cache.
        cache_limit_bytes: All features below ``cache_dir`` stay below this. Those used longest ago make room; what
            does not fit then is, for frames, computed again at every access, and for means, kept in memory.
        progress: Receives one stage, in utterances.
        max_seconds: As `Policy.max_samples`, in seconds.
        batch_seconds: Padded audio in one forward pass; by default what suits the device: little on a CPU, what its
            memory holds on a GPU.
        n_threads: CPU threads; torch's number where none is given. An upstream that ``runs_concurrently`` takes one for
            each of several batches, which gives the same features for any number.

    Raises:
        AudioError: a file cannot be read; names the file and the manifest line.
        DataError: the upstream returns NaN, infinity or no frame, or an utterance is too long for the memory; names
            the utterance.
    """
    progress = progress or Silent()
    policy = Policy.of(pooled=pooled, max_seconds=max_seconds)
    extraction = Extraction(
        upstream,
        policy=policy,
        cache_dir=cache_dir,
        limit_bytes=cache_limit_bytes,
        batch_seconds=batch_seconds,
        n_threads=n_threads or torch.get_num_threads(),
    )
    with progress.stage(f"{upstream.name}: features", total=len(utterances)) as advance:
        extraction.run(utterances, advance)
    for note in extraction.notes():
        progress.note(f"{upstream.name}: {note}")
    return Features(extraction, utterances)


def require_memory(
    upstream: FeatureSource,
    utterances: Sequence[Utterance],
    *,
    pooled: bool,
    cache_dir: Path,
    max_seconds: float | None = None,
) -> None:
    """Checks what `extract` with the same arguments checks first; reads and extracts nothing.

    Raises:
        DataError: an utterance that the cache lacks is too long for the memory.
    """
    policy = Policy.of(pooled=pooled, max_seconds=max_seconds)
    if too_long(utterances, estimate=estimate_of(upstream), max_samples=policy.max_samples):
        Extraction(
            upstream, policy=policy, cache_dir=cache_dir, limit_bytes=None, batch_seconds=None, n_threads=1
        ).require_memory(utterances)
