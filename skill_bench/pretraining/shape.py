"""The shape of the bundled teacher."""

from __future__ import annotations

from skill_bench.models.architecture import RelativePosition
from skill_bench.models.factories import architecture

SMALL_TEACHER = architecture(
    channels=96,
    dim=144,
    n_layers=12,
    n_heads=6,
    ffn_dim=576,
    position_kernel=64,
    relative_position=RelativePosition(n_buckets=64, max_distance=256),
)
"""WavLM Base's shape at 3.3 M parameters: trains on two CPU cores."""
