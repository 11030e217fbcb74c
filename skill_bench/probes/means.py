"""Time means of many utterances: in memory while they are small, else read from the cache as they are needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from skill_bench.corpora.data import Utterance
from skill_bench.probes.frames import RESIDENT_BYTES


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
