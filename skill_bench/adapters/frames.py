"""What boards ask of an encoder: one state a frame, of audio of any length."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from skill_bench.upstream.interface import Upstream


@torch.no_grad()
def frames(
    upstream: Upstream, wave: Float[Tensor, " samples"], *, layer: int, max_seconds: float
) -> Float[Tensor, "frames dim"]:
    """The hidden states ``layer`` of ``wave``, one chunk of at most ``max_seconds`` after the other.

    Each chunk is heard alone, so that the memory of attention, which grows with the square of the length, is bounded.
    What is shorter than a frame has none.
    """
    chunks = torch.split(wave, int(max_seconds * upstream.sample_rate_hz))
    return torch.cat([upstream.hidden_states([chunk])[0][layer] for chunk in chunks])
