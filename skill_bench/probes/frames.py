"""Batches of frames: utterances of different lengths one after the other, without padding."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Generic, TypeVar

import torch
from torch import Tensor

from skill_bench.corpora.data import Utterance
from skill_bench.probes.training import Batch

# Batches that come again stay in memory while all of them are small; beyond that each is read from the cache in turn.
_RESIDENT_BYTES = 3 * 2**30
Label = TypeVar("Label")


class FrameBatches(Generic[Label]):
    """Reads features of utterances as batches.

    Args:
        features: ``(layers, frames, dim)`` by utterance id.
        frame_counts: Frames by utterance id.
        label: What the head has to say about an utterance.
        kept: The utterances whose batches come again.
        device: Where batches are wanted.
    """

    def __init__(
        self,
        *,
        features: Mapping[str, Tensor],
        frame_counts: Mapping[str, int],
        label: Callable[[Utterance], Label],
        kept: Sequence[Utterance],
        device: torch.device,
    ) -> None:
        self.features, self.frame_counts, self.label, self.device = features, frame_counts, label, device
        self.n_layers, _, self.dim = features[kept[0].id].shape
        n_frames = sum(frame_counts[utterance.id] for utterance in kept)
        self._resident = 4 * n_frames * self.n_layers * self.dim <= _RESIDENT_BYTES
        self._kept: dict[str, Tensor] = {}

    def batch(self, utterances: Sequence[Utterance], *, keep: bool = True) -> Batch[Label]:
        """The utterances' frames and labels; ``keep`` where they come again."""
        parts = [self._one(utterance.id, keep=keep) for utterance in utterances]
        return Batch(
            features=torch.cat(parts, dim=1),
            lengths=[part.shape[1] for part in parts],
            labels=[self.label(utterance) for utterance in utterances],
        )

    def _one(self, utterance_id: str, *, keep: bool) -> Tensor:
        if utterance_id in self._kept:
            return self._kept[utterance_id]
        features = self.features[utterance_id].to(self.device).float()
        if keep and self._resident:
            self._kept[utterance_id] = features
        return features
