"""Which utterances form which batch: endless, seeded, and never dropping anybody.

Batches hold frames, of utterances of different lengths one after the other, without padding; or time means.
Both are in memory while they are small, else read from the cache as they are needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Generic, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from skill_bench.base.in_order import ahead
from skill_bench.corpora.data import Utterance
from skill_bench.features.extract import Features
from skill_bench.probes.training import Batch

# Batches that come again stay in memory while all of them are small; beyond that each is read from the cache in turn.
RESIDENT_BYTES = 3 * 2**30
Label = TypeVar("Label")


def shuffled(*, n: int, batch_size: int, generator: torch.Generator) -> Iterator[list[int]]:
    """Epoch after epoch in a new order; the last batch of an epoch may be smaller."""
    while True:
        order = torch.randperm(n, generator=generator).tolist()
        yield from (order[i : i + batch_size] for i in range(0, n, batch_size))


def class_balanced(*, labels: Sequence[int], batch_size: int, generator: torch.Generator) -> Iterator[list[int]]:
    """Utterances drawn with replacement so that every class is equally likely (s3prl's KS sampler)."""
    counts = torch.bincount(torch.tensor(labels))
    weights = 1.0 / counts[torch.tensor(labels)].double()
    size = min(batch_size, len(labels))
    while True:
        yield torch.multinomial(weights, size, replacement=True, generator=generator).tolist()


def length_buckets(*, lengths: Sequence[float], batch_size: int, half_above: float | None = None) -> list[list[int]]:
    """A partition into batches of neighbours in length, longest first; the last one may be smaller.

    Args:
        lengths: Of every utterance, in any unit.
        batch_size: Utterances of a batch.
        half_above: Full batches whose longest utterance is longer become two (s3prl ``asr/dataset.py``).
    """
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    buckets = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
    if half_above is None or batch_size < 2:
        return buckets
    half = batch_size // 2
    return [
        part
        for bucket in buckets
        for part in (
            (bucket[:half], bucket[half:])
            if len(bucket) == batch_size and lengths[bucket[0]] > half_above
            else (bucket,)
        )
    ]


def sliding_buckets(
    *,
    target_lengths: Sequence[int],
    lengths: Sequence[float],
    batch_size: int,
    half_above: float | None = None,
) -> list[list[int]]:
    """One window of neighbours for each utterance, so that an epoch repeats most of them (s3prl ``ctc/data.py``).

    Utterances are ordered by the length of their target, longest first; windows that would reach beyond the last one
    are moved back.

    Args:
        target_lengths: Tokens of every utterance's target.
        lengths: Of every utterance, in any unit.
        batch_size: Utterances of a window.
        half_above: Of a window whose first utterance is longer, only the first half is used.
    """
    order = sorted(range(len(lengths)), key=lambda i: (-target_lengths[i], i))
    last = max(0, len(order) - batch_size)
    windows = [order[start : start + batch_size] for start in (min(i, last) for i in range(len(order)))]
    if half_above is None or batch_size < 2:
        return windows
    return [w[: batch_size // 2] if lengths[w[0]] > half_above else w for w in windows]


class FrameBatches(Generic[Label]):
    """Reads features of utterances as batches.

    Args:
        features: ``(layers, frames, dim)`` by utterance id.
        frame_counts: Frames by utterance id.
        label: What the head has to say about an utterance.
        kept: The utterances whose batches come again.
        device: Where batches are wanted.
        recurring: The same utterances always come together. Their batches are kept whole then: putting features one
            after the other takes half the time of a linear head's step.
    """

    def __init__(
        self,
        *,
        features: Mapping[str, Tensor],
        frame_counts: Mapping[str, int],
        label: Callable[[Utterance], Label],
        kept: Sequence[Utterance],
        device: torch.device,
        recurring: bool = False,
    ) -> None:
        self.features, self.frame_counts, self.label, self.device = features, frame_counts, label, device
        self.recurring = recurring
        self.n_layers, _, self.dim = features[kept[0].id].shape
        n_frames = sum(frame_counts[utterance.id] for utterance in kept)
        self._resident = 4 * n_frames * self.n_layers * self.dim <= RESIDENT_BYTES
        self._kept: dict[str, Tensor] = {}
        self._whole: dict[tuple[str, ...], Batch[Label]] = {}

    def batch(self, utterances: Sequence[Utterance], *, keep: bool = True) -> Batch[Label]:
        """The utterances' frames and labels; ``keep`` where they come again."""
        ids = tuple(utterance.id for utterance in utterances)
        if ids in self._whole:
            return self._whole[ids]
        keep = keep and self._resident
        parts = self._read(ids, keep=keep and not self.recurring)
        batch = Batch(
            features=torch.cat(parts, dim=1),
            lengths=[part.shape[1] for part in parts],
            labels=[self.label(utterance) for utterance in utterances],
        )
        if keep and self.recurring:
            self._whole[ids] = batch
        return batch

    def stream(self, groups: Iterable[Sequence[Utterance]], *, keep: bool = True) -> Iterator[Batch[Label]]:
        """`batch` of every group. What no cache holds is computed while the batch before it is used."""
        make = partial(self.batch, keep=keep)
        if not (isinstance(self.features, Features) and self.features.are_recomputed):
            yield from map(make, groups)
            return
        with ThreadPoolExecutor(1) as pool:
            yield from ahead(pool, make, groups, n=1)

    def once_each(
        self, utterances: Sequence[Utterance], *, batch_size: int, keep: bool = True
    ) -> Iterator[tuple[list[Utterance], Batch[Label]]]:
        """All of the utterances, in batches of neighbours in length: who is in a batch, and the batch."""
        lengths = [self.frame_counts[utterance.id] for utterance in utterances]
        buckets = length_buckets(lengths=lengths, batch_size=batch_size)
        groups = [[utterances[i] for i in bucket] for bucket in buckets]
        yield from zip(groups, self.stream(groups, keep=keep), strict=True)

    def _read(self, ids: Sequence[str], *, keep: bool) -> list[Tensor]:
        missing = [utterance_id for utterance_id in ids if utterance_id not in self._kept]
        read = {i: features.to(self.device).float() for i, features in zip(missing, self._fetch(missing), strict=True)}
        if keep:
            self._kept |= read
        return [read[i] if i in read else self._kept[i] for i in ids]

    def _fetch(self, ids: Sequence[str]) -> list[Tensor]:
        # What no cache holds is computed in one go.
        if isinstance(self.features, Features):
            return self.features.fetch(ids)
        return [self.features[utterance_id] for utterance_id in ids]


class MeanRows:
    """Rows of means in the order of ``utterances``.

    Args:
        utterances: Some may occur more than once.
        features: ``(layers, dim)`` by utterance id.
        device: Where rows are wanted.
    """

    def __init__(
        self, utterances: Sequence[Utterance], features: Mapping[str, Tensor], *, device: torch.device
    ) -> None:
        self._ids = [utterance.id for utterance in utterances]
        self._features, self._device = features, device
        first = features[self._ids[0]]
        self.shape: tuple[int, int] = (first.shape[0], first.shape[1])
        self._resident: Tensor | None = None
        if first.nbytes * len(self._ids) <= RESIDENT_BYTES:
            self._resident = self._read(range(len(self._ids)))

    def __len__(self) -> int:
        return len(self._ids)

    def take(self, chosen: Sequence[int]) -> Float[Tensor, "layers rows dim"]:
        """Some rows, by number."""
        if self._resident is None:
            return self._read(chosen)
        if chosen == range(len(self)):
            return self._resident
        return self._resident.index_select(1, torch.tensor(chosen, device=self._device))

    def _read(self, chosen: Sequence[int]) -> Float[Tensor, "layers rows dim"]:
        rows = torch.empty(self.shape[0], len(chosen), self.shape[1])
        for place, number in enumerate(chosen):
            rows[:, place] = self._features[self._ids[number]]
        return rows.to(self._device)
