"""What one utterance takes of memory while its hidden states are computed."""

from __future__ import annotations

from skill_bench.models.architecture import Architecture

_FLOAT_BYTES = 4


def utterance_bytes(architecture: Architecture, n_samples: int) -> int:
    """On a CPU (`skill_bench.models.runtime`), at least: the larger of what two parts of the encoder hold.

    The front end: what leaves and what enters the norm or GELU of its first convolution. The layers: all states, a
    position bias for every head that is left anywhere, and two matrices (frames, frames) of the head at work.
    """
    first, n_frames = architecture.convs[0], architecture.n_frames(n_samples)
    front_end = 2 * first.channels * max(0, (n_samples - first.kernel) // first.stride + 1)
    heads = {head for layer in architecture.layers for head in layer.heads}
    n_biases = 0 if architecture.relative_position is None else len(heads)
    layers = (len(architecture.layers) + 1) * n_frames * architecture.dim + (n_biases + 2) * n_frames**2
    return _FLOAT_BYTES * max(front_end, layers)
