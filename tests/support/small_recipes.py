"""Recipes of a few updates for the teacher of `small_models`, and progress that tells of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from skill_bench.base.progress import Silent
from skill_bench.distillation.distill import Student
from skill_bench.distillation.recipe import Recipe, load_recipe


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
