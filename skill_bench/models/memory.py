"""What one utterance takes of memory while its hidden states are computed."""

from __future__ import annotations

from skill_bench.models.architecture import Architecture

_FLOAT_BYTES = 4


def utterance_bytes(architecture: Architecture, n_samples: int) -> int:
    """On a CPU (`skill_bench.models.cpu.inference`), at least: what grows with the length, of that the largest parts.

    Attention scores are never held as a whole, but a position bias is, for all heads of the unpruned layer, and twice:
    while it is laid out, and beside its gated form.
    """
    n_frames = architecture.n_frames(n_samples)
    states = (len(architecture.layers) + 1) * n_frames * architecture.dim
    bias = 2 * architecture.n_heads * n_frames**2 if architecture.relative_position is not None else 0
    return _FLOAT_BYTES * (states + bias)
