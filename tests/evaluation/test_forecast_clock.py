"""What a forecast makes of seconds, by a clock that only an upstream's work and a training step move."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from fake_speech import FakeUpstream, class_data
from torch import Tensor

from skill_bench.evaluation import probe as forecasts
from skill_bench.evaluation.probe import Prober
from skill_bench.evaluation.task_files import load_task
from skill_bench.probes.parameters import GridAdam
from skill_bench.tasks import TaskSpec

STEP_SECONDS, WAVE_SECONDS = 2.0, 1000.0


class Slow(FakeUpstream):
    """Takes a thousand seconds a wave."""

    def __init__(self, now: list[float]) -> None:
        super().__init__()
        self.now = now

    def hidden_states(self, waves: list[Tensor]) -> list[Tensor]:
        self.now[0] += WAVE_SECONDS * len(waves)
        return super().hidden_states(waves)


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The clock's seconds."""
    found = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: found[0])
    step = GridAdam.step

    def slow(self: GridAdam) -> None:
        found[0] += STEP_SECONDS
        step(self)

    monkeypatch.setattr(GridAdam, "step", slow)
    return found


def short(**changes: object) -> TaskSpec:
    task = load_task("ks").for_suite("demo")
    settings = {"steps": 40, "evaluate_every_steps": 20, "patience_evaluations": False} | changes
    return task.model_copy(update={"protocol": task.protocol.model_copy(update=settings)})


def test_seconds_of_features_are_none_of_training(
    now: list[float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The probe of extraction hears one utterance of each third; the others are extracted when training is probed."""
    monkeypatch.setattr(forecasts, "_SAMPLE_BATCHES_A_THREAD", 1e-6)
    upstream = Slow(now)
    data = class_data(tmp_path / "audio")
    prober = Prober(upstream=upstream, seeds=(0, 1), cache_dir=tmp_path)
    found = prober.probe(short(), data, data)
    assert upstream.calls == [1, 1, 1, 18], "a wave of each third, and while training is probed the batch of all"
    # Both seeds share each of 40 steps.
    assert found.training_seconds.estimate == pytest.approx(40 * STEP_SECONDS)
    left = (18 - 3) * WAVE_SECONDS
    assert 0.5 * left < found.features_seconds.estimate < 2 * left


def test_seconds_of_training_grow_with_steps_alone(now: list[float], tmp_path: Path) -> None:
    data = class_data(tmp_path / "audio")
    prober = Prober(upstream=Slow(now), seeds=(0,), cache_dir=tmp_path)
    found = [prober.probe(short(steps=steps), data, data).training_seconds.estimate for steps in (40, 80)]
    assert found == pytest.approx([40 * STEP_SECONDS, 80 * STEP_SECONDS])
