"""X-ARES (arXiv 2505.16369, github.com/jimbozhang/xares): any upstream as its encoder class.

X-ARES takes a Python file with exactly one name that ends in ``Encoder``, and keeps embeddings under that name, so each
model is a class of its own::

    from skill_bench.adapters import xares

    class SkillEncoder(xares.XaresUpstream):
        name = "skill"

Its interface: ``xares/audio_encoder_checker.py`` of version 0.1.3. Neither this file nor that one imports X-ARES.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from skill_bench.adapters.frames import frames
from skill_bench.upstream.load import load_upstream


class XaresUpstream(nn.Module):
    """A batch of waveforms to one state a frame.

    Attributes:
        name: An upstream's name, as the command line takes it.
        ckpt: Weights instead of its own.
        layer: Which hidden state; -1 is the last.
        max_seconds: Longer audio (X-ARES has up to ten minutes) is heard in chunks of this length.
        sampling_rate: In Hz.
        output_dim: Width of a state.
        hop_size_in_ms: From one frame to the next.
    """

    name: ClassVar[str]
    ckpt: ClassVar[str | Path | None] = None
    layer: ClassVar[int] = -1
    max_seconds: ClassVar[float] = 30.0

    def __init__(self) -> None:
        super().__init__()
        self.upstream = load_upstream(self.name, self.ckpt)
        self.sampling_rate, self.output_dim = self.upstream.sample_rate_hz, self.upstream.dim
        self.hop_size_in_ms = 1000 * self.upstream.downsample_rate / self.sampling_rate

    def forward(self, audio: Float[Tensor, "*batch samples"]) -> Float[Tensor, "utterances frames dim"]:
        """One waveform, or several side by side, at ``sampling_rate``: X-ARES does not say where padding begins."""
        waves = audio[None] if audio.ndim == 1 else audio
        return torch.stack(
            [frames(self.upstream, wave, layer=self.layer, max_seconds=self.max_seconds) for wave in waves]
        )
