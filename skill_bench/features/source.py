"""What extraction needs of an upstream, and what it makes of its hidden states."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from skill_bench.base.errors import DataError
from skill_bench.corpora.audio.audio import Audio
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


def kept(
    states: Float[Tensor, "layers frames dim"], utterance: Utterance, audio: Audio, *, pooled: bool, upstream: str
) -> KeptFeatures:
    """Time means, or frames in half precision, in single precision where a value exceeds that.

    Raises:
        DataError: NaN, infinity or no frame.
    """
    if states.ndim != 3 or states.shape[1] == 0 or not torch.isfinite(states).all():
        raise unusable(states, utterance, upstream=upstream)
    features = reduced(states, pooled=pooled)
    if not pooled and not torch.isfinite(features).all():
        features = states.float()
    return KeptFeatures(
        features=features.cpu(), original_rate_hz=audio.original_rate_hz, original_channels=audio.original_channels
    )


def reduced(states: Float[Tensor, "layers frames dim"], *, pooled: bool) -> Tensor:
    """``(layers, dim)`` float32 means, taken in float64; or ``(layers, frames, dim)`` float16."""
    return states.mean(dim=1, dtype=torch.float64).float() if pooled else states.half()


def unusable(states: Tensor, utterance: Utterance, *, upstream: str) -> DataError:
    """The error that names the utterance."""
    shape_is_wrong = states.ndim != 3 or states.shape[1] == 0
    what = f"shape {tuple(states.shape)}" if shape_is_wrong else "NaN or infinity"
    half = "float16 ends at 65504: take --precision bf16. " if states.dtype == torch.float16 else ""
    return DataError(
        f"upstream {upstream!r} returned {what} for utterance {utterance.id!r} ({utterance.path}, "
        f"{utterance.source}); finite features of shape (layers, frames, dim) are needed. "
        f"{half}Check the checkpoint, or remove the utterance from the manifest."
    )
