"""An upstream over a wav2vec 2.0, HuBERT or WavLM encoder, whole or pruned."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from skill_bench.base.hashed import digest
from skill_bench.base.in_order import neighbours
from skill_bench.base.sample_rate import SAMPLE_RATE_HZ
from skill_bench.models import runtime, size
from skill_bench.models.checkpoint import LoadedModel
from skill_bench.models.encoder import Encoder, pad
from skill_bench.models.position import ConvolutionalPosition
from skill_bench.models.size import size_of
from skill_bench.records.record import System
from skill_bench.upstream.interface import CODE_VERSION, Upstream

MAX_BATCH_SAMPLES = 60 * SAMPLE_RATE_HZ
"""Padded audio in one forward pass: bounds memory, changes no result."""


class EncoderUpstream(Upstream):
    """Hidden states h0 (input of the first layer) to hN (output of the last; after the final norm in pre-norm models).

    Args:
        loaded: Encoder and hash of its weights.
        system: Name, role and title; identity, hash, sizes and what the checkpoint says of itself are filled in.
    """

    def __init__(self, *, loaded: LoadedModel, system: System) -> None:
        architecture = loaded.encoder.architecture
        names = [f"h{index}" for index in range(len(architecture.layers) + 1)]
        said = loaded.metadata | ({"notes": "; ".join(loaded.notes)} if loaded.notes else {})
        super().__init__(
            system=system.model_copy(
                update={
                    "identity": digest(f"encoder {CODE_VERSION} {loaded.sha256}"),
                    "checkpoint_sha256": loaded.sha256,
                    "n_parameters": size_of(loaded.encoder),
                    "n_hidden_states": len(names),
                    "licence": said.get("licence") or system.licence,
                    "details": {**system.details, "format": loaded.format, "family": architecture.family, **said},
                }
            ),
            downsample_rate=architecture.hop_samples,
            dim=architecture.dim,
            layer_names=names,
        )
        self.encoder: Encoder = loaded.encoder.requires_grad_(True)
        self._runtime = runtime.Runtime(self.encoder)

    @property
    def runs_concurrently(self) -> bool:
        """On a CPU, where each call takes one thread."""
        return self.device.type == "cpu"

    def utterance_bytes(self, n_samples: int) -> int | None:
        """On a CPU; what a GPU takes is not known."""
        return size.utterance_bytes(self.encoder.architecture, n_samples) if self.runs_concurrently else None

    def _compute_in(self, dtype: torch.dtype) -> bool:
        if isinstance(self.encoder.position, ConvolutionalPosition):
            self.encoder.position.fix_norm()  # a norm of thousands of halves would be one
        self.encoder.to(dtype)
        return True

    def hidden_states(self, waves: list[Float[Tensor, " samples"]]) -> list[Float[Tensor, "layers frames dim"]]:
        """See :meth:`Upstream.hidden_states`; on a CPU and without gradients ONNX Runtime computes them."""
        with self.gradients():
            if not runtime.applies(self.encoder):
                return self.hidden_states_by_torch(waves)
            usable = self._usable(waves)
            return self._placed(waves, usable, self._runtime.hidden_states([waves[index] for index in usable]))

    def hidden_states_by_torch(
        self, waves: list[Float[Tensor, " samples"]]
    ) -> list[Float[Tensor, "layers frames dim"]]:
        """See :meth:`Upstream.hidden_states_by_torch`; on a CPU in batches by length, whatever the order of waves.

        On a GPU who calls decides how much is computed at a time, and nothing waits for it to be done.
        """
        usable, found = self._usable(waves), []
        batches = _batches(usable, [len(wave) for wave in waves]) if self.device.type == "cpu" else iter([usable])
        ordered = [batch for batch in batches if batch]
        with self.gradients():
            for batch in ordered:
                found += self._states([waves[index].to(self.device, torch.float32) for index in batch])
        return self._placed(waves, [index for batch in ordered for index in batch], found)

    def _states(self, waves: list[Float[Tensor, " samples"]]) -> list[Float[Tensor, "layers frames dim"]]:
        n_samples = [len(wave) for wave in waves]
        padded, lengths = pad(waves)
        states, _ = self.encoder.padded(padded, lengths if len(set(n_samples)) > 1 else None)
        counts = map(self.encoder.architecture.n_frames, n_samples)
        return [utterance[:, :n] for utterance, n in zip(torch.stack(states, dim=1), counts, strict=True)]

    def _usable(self, waves: list[Float[Tensor, " samples"]]) -> list[int]:
        """Those with a frame."""
        shortest = self.encoder.architecture.receptive_field_samples
        return [index for index, wave in enumerate(waves) if len(wave) >= shortest]

    def _placed(self, waves: list[Tensor], indices: list[int], found: list[Tensor]) -> list[Tensor]:
        """The states of every wave, in the waves' order; those without a frame have none."""
        results = [self.encoder.norm.weight.new_empty(self.n_hidden_states, 0, self.dim)] * len(waves)
        for index, states in zip(indices, found, strict=True):
            results[index] = states
        return results


def _batches(indices: list[int], lengths: list[int]) -> Iterator[list[int]]:
    """Neighbours in length together, at most MAX_BATCH_SAMPLES with padding (or one utterance)."""
    return neighbours(
        sorted(indices, key=lambda i: lengths[i]),
        fits=lambda batch, index: (len(batch) + 1) * lengths[index] <= MAX_BATCH_SAMPLES,
    )
