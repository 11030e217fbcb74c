"""A teacher of 40 k parameters and seconds of noise, for tests of compression.

Recipes of a few updates for the teacher of `small_models`, and progress that tells of each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import soundfile
import torch

from skill_bench.base.progress import Silent
from skill_bench.corpora.data import Utterance
from skill_bench.distillation.distill import Student
from skill_bench.distillation.recipe import Recipe, load_recipe
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


def recipe(name: str = "skill", *changes: str, joint: int = 60, final: int = 6) -> Recipe:
    base = ["data.seconds_per_batch=1.0", "data.min_seconds=0.1", "optimizer.max_gradient_norm=10.0"]
    base += [f"final={{n_updates={final}, learning_rate=1e-3, warmup_updates=2}}"]
    if name != "distilhubert":
        base += [f"joint={{n_updates={joint}, learning_rate=1e-3, warmup_updates=3}}", "sparsity.target=0.5"]
        base += [f"sparsity.{key}" for key in ("ramp_updates=10", "gate_learning_rate=0.1")]
        base += ["sparsity.multiplier_learning_rate=0.1", "sparsity.tolerance=false"]
    if name == "skill":
        base += ["groups.n_calibration_utterances=4"]
    if name in ("skill", "random_groups", "uniform_groups"):
        base += ["groups.n_groups=3"]
    return load_recipe(name, changes=[*base, *changes])


def weights(student: Student) -> dict[str, torch.Tensor]:
    return dict(student.encoder.state_dict())


class OnUpdate(Silent):
    """Calls a function after every update: with its number, the number of updates and what it logged."""

    def __init__(self, call: Callable[[int, int, Mapping[str, float]], None]) -> None:
        self._call = call

    def update(self, training: str, number: int, n_updates: int, log: Mapping[str, float]) -> None:
        self._call(number, n_updates, log)
