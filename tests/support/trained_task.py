"""A task of a trained kind, typed so."""

from __future__ import annotations

from skill_bench.evaluation.task_files import load_task
from skill_bench.tasks import TrainedSpec


def load_trained(name: str) -> TrainedSpec:
    task = load_task(name)
    assert isinstance(task, TrainedSpec)
    return task
