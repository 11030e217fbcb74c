"""One of an utterance's cuts, drawn anew each time, as s3prl does."""

from __future__ import annotations

from collections.abc import Sequence

import torch


class CutSampler:
    """One cut of each utterance, by number among all cuts of all utterances, in their order.

    Args:
        counts: How many cuts each utterance has.
    """

    def __init__(self, counts: Sequence[int]) -> None:
        self._counts = counts
        self._first = [0]
        for count in counts[:-1]:
            self._first.append(self._first[-1] + count)

    def draw(self, utterances: Sequence[int], generator: torch.Generator) -> list[int]:
        """Draws nothing where nothing can be chosen, so that the generator's other draws stay as they are."""
        return [
            self._first[i] + (int(torch.randint(n, (), generator=generator)) if (n := self._counts[i]) > 1 else 0)
            for i in utterances
        ]
