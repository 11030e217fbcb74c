"""What extraction needs of an upstream, and what it makes of its hidden states."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Protocol

from torch import Tensor

from skill_bench.corpora.data import Utterance
from skill_bench.features.cache import KeptFeatures

Batches = list[list[Utterance]]
Computed = list[tuple[Utterance, KeptFeatures]]


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


class Computer(Protocol):
    """Runs an upstream over utterances on one kind of device."""

    def compute(self, blocks: Iterator[Batches]) -> Generator[Computed]:
        """The features of every utterance, in order, in portions of any size.

        Blocks are taken from the iterator as they are needed: each is claimed then.

        Raises:
            AudioError: a file cannot be read.
            DataError: the upstream returns NaN, infinity or no frame.
        """
        ...
