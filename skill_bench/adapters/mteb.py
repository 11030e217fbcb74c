"""mteb's audio tasks (MAEB, github.com/embeddings-benchmark/mteb): any upstream as its encoder.

::

    import mteb
    from skill_bench.adapters.mteb import MtebUpstream

    mteb.evaluate(MtebUpstream("skill"), tasks=mteb.get_benchmark("MAEB(v1, audio-only)"))

An embedding is the mean of a hidden state over an utterance's frames, as mteb's own wrappers of HuBERT and WavLM have
it. Interface: ``EncoderProtocol`` of mteb 2.26.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from skill_bench.adapters.frames import frames
from skill_bench.base.errors import MissingExtra
from skill_bench.upstream.load import load_upstream

try:
    from mteb.models.abs_encoder import AbsEncoder
    from mteb.models.modality_collators import AudioCollator
    from mteb.models.model_meta import ModelMeta, ScoringFunction
except ImportError as error:
    raise MissingExtra("mteb", extra="mteb", purpose="skill_bench.adapters.mteb") from error

MIN_SAMPLES = 1600
"""A shorter clip is padded with silence: each must have a frame to be the mean of."""


class MtebUpstream(AbsEncoder):  # type: ignore[misc]
    """One embedding an utterance.

    Args:
        model_name: An upstream's name, as the command line takes it.
        revision: mteb's; an upstream's identity takes its place in mteb's results.
        device: Where it runs.
        ckpt: Weights instead of its own.
        layer: Which hidden state; -1 is the last.
        max_seconds: Longer audio is heard in chunks of this length.
        unused: What else mteb gives every model.
    """

    def __init__(
        self,
        model_name: str,
        revision: str | None = None,
        *,
        device: str = "cpu",
        ckpt: str | Path | None = None,
        layer: int = -1,
        max_seconds: float = 30.0,
        **unused: Any,
    ) -> None:
        self.model = load_upstream(model_name, ckpt).to(device)
        self.device, self.layer, self.max_seconds = device, layer, max_seconds
        system = self.model.system()
        self.mteb_model_meta = ModelMeta.create_empty(
            {
                "name": f"skill-bench/{system.name}",
                "revision": system.identity,
                "n_parameters": system.n_parameters,
                "embed_dim": self.model.dim,
                "framework": ["PyTorch"],
                "similarity_fn_name": ScoringFunction.COSINE,
                "modalities": ["audio"],
            }
        )

    def encode(self, inputs: Any, **unused: Any) -> Float[Tensor, "utterances dim"]:
        """An embedding for each clip of mteb's DataLoader, which resamples and mixes down."""
        inputs.collate_fn = AudioCollator(target_sampling_rate=self.model.sample_rate_hz, min_samples=MIN_SAMPLES)
        waves = (torch.as_tensor(audio["array"]).float() for batch in inputs for audio in batch["audio"])
        return torch.stack([self._embedding(wave.flatten()) for wave in waves])

    def _embedding(self, wave: Float[Tensor, " samples"]) -> Float[Tensor, " dim"]:
        found = frames(self.model, wave.to(self.device), layer=self.layer, max_seconds=self.max_seconds)
        return found.mean(0).cpu()
