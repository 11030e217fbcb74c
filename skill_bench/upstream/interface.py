"""The one interface that everything else sees of a model: waveforms in, hidden states out, frozen.

Also s3prl's interface (``forward`` and ``get_downsample_rates``), so that the same object serves both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from skill_bench.base.sample_rate import SAMPLE_RATE_HZ
from skill_bench.records.record import System

CODE_VERSION = "1"
"""Part of every identity; raised when the same weights would give other features, so that no cache mixes them."""


class Upstream(nn.Module):
    """A frozen feature extractor for 16 kHz speech.

    Attributes:
        name: What records and tables call it.
        sample_rate_hz: Of the waveforms.
        downsample_rate: Samples from one frame to the next.
        n_hidden_states: How many hidden states each utterance has.
        dim: Their width.
        layer_names: What each hidden state is.
        identity: sha256 of weights, architecture and code version; equal in all processes and places.
    """

    sample_rate_hz = SAMPLE_RATE_HZ

    def __init__(self, *, system: System, downsample_rate: int, dim: int, layer_names: Sequence[str]) -> None:
        super().__init__()
        self._system = system
        self.name, self.identity = system.name, system.identity
        self.downsample_rate, self.dim = downsample_rate, dim
        self.layer_names = tuple(layer_names)
        self.n_hidden_states = len(self.layer_names)

    def system(self) -> System:
        """What goes into a record."""
        return self._system

    def hidden_states(self, waves: list[Float[Tensor, " samples"]]) -> list[Float[Tensor, "layers frames dim"]]:
        """All hidden states of each utterance: exact lengths, no gradient, independent of the other utterances.

        A wave shorter than one frame has 0 frames.
        """
        raise NotImplementedError

    @property
    def runs_concurrently(self) -> bool:
        """Whether several threads may call `hidden_states` at a time; then extraction has each call take one thread."""
        return False

    @torch.no_grad()
    def forward(self, waves: list[Float[Tensor, " samples"]]) -> dict[str, Any]:
        """s3prl's contract: ``hidden_states``, a list over layers of (batch, frames, dim), zeros after the end."""
        utterances = self.hidden_states(waves)
        stacked = nn.utils.rnn.pad_sequence([states.transpose(0, 1) for states in utterances], batch_first=True)
        layers = list(stacked.unbind(2))
        return {"hidden_states": layers, "last_hidden_state": layers[-1]}

    def get_downsample_rates(self, key: str) -> int:
        """Samples a frame, the same for every entry of ``forward``'s result."""
        return self.downsample_rate

    def train(self, mode: bool = True) -> Upstream:
        """Stays in evaluation mode: a frozen upstream has neither dropout nor running statistics to switch on."""
        return super().train(False)
