"""Seconds of noise and a teacher of 40 k parameters."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from skill_bench.corpora.data import Utterance
from skill_bench.models import checkpoint
from skill_bench.models.architecture import RelativePosition
from skill_bench.models.checkpoint import LoadedModel
from skill_bench.models.encoder import Encoder
from skill_bench.models.factories import architecture


@pytest.fixture
def speech(tmp_path: Path) -> list[Utterance]:
    random = np.random.default_rng(0)
    found = []
    for number in range(8):
        path = tmp_path / f"{number}.wav"
        n_samples = 8000 + 800 * number
        soundfile.write(path, 0.1 * random.standard_normal(n_samples), 16_000)
        found.append(
            Utterance(id=path.name, path=path, target="", speaker=None, seconds=n_samples / 16_000, source=path.name)
        )
    return found


@pytest.fixture
def teacher(tmp_path: Path) -> LoadedModel:
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
    path = tmp_path / "teacher.safetensors"
    checkpoint.save(Encoder(shape), path, metadata={})
    return checkpoint.load(path)
