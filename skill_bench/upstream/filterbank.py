"""Log-mel filterbanks as s3prl computes them for its baselines: the floor that every model must beat.

Source: s3prl 0.4.18, ``upstream/baseline/extracter.py``. We differ in one place: an utterance of a single frame is
normalised to zeros, where the standard deviation of one value is undefined and s3prl gives NaN.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from skill_bench.base.hashed import digest
from skill_bench.base.sample_rate import SAMPLE_RATE_HZ
from skill_bench.records.record import System
from skill_bench.upstream.interface import CODE_VERSION, Upstream
from skill_bench.upstream.spec import Filterbank


class FilterbankUpstream(Upstream):
    """One hidden state: log-mel energies with their deltas.

    Args:
        filterbank: Sizes, and whether each utterance is normalised.
        system: Name, role and title; identity and sizes are filled in.
    """

    def __init__(self, *, filterbank: Filterbank, system: System) -> None:
        content = f"filterbank {CODE_VERSION} {filterbank.model_dump_json()}"
        super().__init__(
            system=system.model_copy(
                update={
                    "identity": digest(content),
                    "n_parameters": 0,
                    "n_hidden_states": 1,
                    "details": {**system.details, **filterbank.model_dump(mode="json")},
                }
            ),
            downsample_rate=round(filterbank.frame_shift_ms * SAMPLE_RATE_HZ / 1000),
            dim=filterbank.n_mels * (1 + filterbank.delta_order),
            layer_names=["filterbank"],
        )
        self.filterbank = filterbank

    def hidden_states(self, waves: list[Float[Tensor, " samples"]]) -> list[Float[Tensor, "1 frames dim"]]:
        """See :meth:`Upstream.hidden_states`; frames as Kaldi counts them, without padding at the edges."""
        with self.gradients():
            return [self._features(wave.to(torch.float32))[None] for wave in waves]

    def _features(self, wave: Float[Tensor, " samples"]) -> Float[Tensor, "frames dim"]:
        from torchaudio.compliance import kaldi
        from torchaudio.functional import compute_deltas

        shape = self.filterbank
        if len(wave) < shape.frame_length_ms * SAMPLE_RATE_HZ / 1000:
            return wave.new_empty(0, self.dim)
        static = kaldi.fbank(
            wave[None],
            sample_frequency=SAMPLE_RATE_HZ,
            num_mel_bins=shape.n_mels,
            frame_length=shape.frame_length_ms,
            frame_shift=shape.frame_shift_ms,
            use_log_fbank=True,
        )
        parts = [static.T]
        for _ in range(shape.delta_order):
            parts.append(compute_deltas(parts[-1][None], win_length=shape.delta_window)[0])
        features: Tensor = torch.cat(parts).T
        return _normalize(features) if shape.normalize_utterance else features


def _normalize(x: Float[Tensor, "frames dim"], eps: float = 1e-10) -> Float[Tensor, "frames dim"]:
    """Zero mean and unit (unbiased) variance in each dimension over the utterance."""
    centred = x - x.mean(dim=0)
    return centred / (eps + x.std(dim=0)) if len(x) > 1 else centred
