"""The one interface that everything else sees of a model: waveforms in, hidden states out.

Also s3prl's interface (``forward`` and ``get_downsample_rates``), so that the same object serves both. s3prl trains
an upstream where it is asked to (``-f``), so an upstream is a trainable module when it is made; skill-bench's own
harness freezes what it loads (:meth:`Upstream.freeze`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any, Self

import torch
from jaxtyping import Float
from torch import Tensor, nn

from skill_bench.base.errors import UsageError
from skill_bench.base.hashed import digest
from skill_bench.base.sample_rate import SAMPLE_RATE_HZ
from skill_bench.base.specs import Precision
from skill_bench.records.record import System

CODE_VERSION = "2"
"""Part of every identity; raised when the same weights would give other features, so that no cache mixes them."""

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Upstream(nn.Module):
    """A feature extractor for 16 kHz speech.

    Attributes:
        name: What records and tables call it.
        sample_rate_hz: Of the waveforms.
        downsample_rate: Samples from one frame to the next.
        n_hidden_states: How many hidden states each utterance has.
        dim: Their width.
        layer_names: What each hidden state is.
        identity: sha256 of weights, architecture and code version as they were loaded; equal in all processes and
            places.
        precision: What it computes in.
        frozen: Whether it was frozen: then nothing of it learns, and features carry no gradient.
        disk_bytes: Size of the file that it was loaded from; None where there is none.
    """

    sample_rate_hz = SAMPLE_RATE_HZ

    def __init__(self, *, system: System, downsample_rate: int, dim: int, layer_names: Sequence[str]) -> None:
        super().__init__()
        self._system = system
        self.name, self.identity = system.name, system.identity
        self.downsample_rate, self.dim = downsample_rate, dim
        self.layer_names = tuple(layer_names)
        self.n_hidden_states = len(self.layer_names)
        self.frozen = False
        self.precision: Precision = "fp32"
        self.disk_bytes: int | None = None

    def system(self) -> System:
        """What goes into a record."""
        return self._system

    @property
    def device(self) -> torch.device:
        """Where its weights are; the CPU where it has none."""
        return next((tensor.device for tensor in chain(self.parameters(), self.buffers())), torch.device("cpu"))

    def at_precision(self, precision: Precision) -> Self:
        """From now on computes in ``precision``: another system for caches and records, and called so.

        Raises:
            UsageError: it computes in another one only.
        """
        if precision == self.precision:
            return self
        if self.precision != "fp32" or not self._compute_in(DTYPES[precision]):
            raise UsageError(
                f"upstream {self.name!r} computes in {self.precision} only. Leave --precision {precision} out for it."
            )
        self.precision = precision
        system = self._system
        self._system = system.model_copy(
            update={
                "name": f"{system.name}-{precision}",
                "title": f"{system.title}, {precision}",
                "identity": digest(f"{precision} {system.identity}"),
                "details": {**system.details, "computed_in": precision},
            }
        )
        self.name, self.identity = self._system.name, self._system.identity
        return self

    def _compute_in(self, dtype: torch.dtype) -> bool:
        """Changes the weights to a half precision; False where that is not possible."""
        return False

    def hidden_states(self, waves: list[Float[Tensor, " samples"]]) -> list[Float[Tensor, "layers frames dim"]]:
        """All hidden states of each utterance: exact lengths, independent of the other utterances.

        A wave shorter than one frame has 0 frames. Computed within :meth:`gradients`.
        """
        raise NotImplementedError

    def hidden_states_by_torch(
        self, waves: list[Float[Tensor, " samples"]]
    ) -> list[Float[Tensor, "layers frames dim"]]:
        """As :meth:`hidden_states`, every operation by torch, which can be counted and differentiated."""
        return self.hidden_states(waves)

    @contextmanager
    def gradients(self) -> Iterator[bool]:
        """Within, gradients are recorded if the caller records them and the upstream is not frozen; yields whether."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            yield torch.is_grad_enabled()

    @property
    def runs_concurrently(self) -> bool:
        """Whether several threads may call `hidden_states` at a time; then extraction has each call take one thread."""
        return False

    def written_down(self) -> nn.Module:
        """The torch module whose parameters and multiply-adds are its own: itself, unless another runtime computes it.

        It has ``hidden_states`` too, whose values mean nothing where it is another module.
        """
        return self

    def utterance_bytes(self, n_samples: int) -> int | None:
        """Memory that an utterance of so many samples takes, at least; None where that is not known."""
        return None

    def forward(self, waves: list[Float[Tensor, " samples"]]) -> dict[str, Any]:
        """s3prl's contract: ``hidden_states``, a list over layers of (batch, frames, dim), zeros after the end."""
        utterances = self.hidden_states(waves)
        stacked = nn.utils.rnn.pad_sequence([states.transpose(0, 1) for states in utterances], batch_first=True)
        layers = list(stacked.unbind(2))
        return {"hidden_states": layers, "last_hidden_state": layers[-1]}

    def get_downsample_rates(self, key: str) -> int:
        """Samples a frame, the same for every entry of ``forward``'s result."""
        return self.downsample_rate

    def freeze(self) -> Self:
        """From now on no parameter learns, no feature carries a gradient, and it stays in evaluation mode."""
        self.frozen = True
        return self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Self:
        """A frozen upstream stays in evaluation mode: it has neither dropout nor running statistics to switch on."""
        return super().train(mode and not self.frozen)
