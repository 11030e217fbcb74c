"""A teacher of 40 k parameters and seconds of noise, for tests of compression."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
import torch

from skill_bench.corpora.data import Utterance
from skill_bench.models import checkpoint
from skill_bench.models.architecture import RelativePosition
from skill_bench.models.encoder import Encoder
from skill_bench.models.factories import architecture


def noise(folder: Path, n: int = 8) -> list[Utterance]:
    """Files of half a second and more."""
    random = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for number in range(n):
        path = folder / f"{number}.wav"
        n_samples = 8000 + 800 * number
        soundfile.write(path, 0.1 * random.standard_normal(n_samples), 16_000)
        found.append(
            Utterance(id=path.name, path=path, target="", speaker=None, seconds=n_samples / 16_000, source=path.name)
        )
    return found


def small_teacher(path: Path) -> Path:
    """A checkpoint of WavLM's shape with 4 layers of width 32 and random weights."""
    torch.manual_seed(0)
    shape = architecture(
        channels=16,
        dim=32,
        n_layers=4,
        n_heads=4,
        ffn_dim=64,
        relative_position=RelativePosition(n_buckets=32, max_distance=80),
        position_kernel=8,
        position_groups=4,
    )
    checkpoint.save(Encoder(shape), path, metadata={})
    return path
