"""The contests of `skill-bench bench` under pytest-benchmark: `pytest tests/benchmarks --benchmark-only`.

Nothing here asserts a time. pytest-benchmark prints minimum, median and maximum of each contestant; what was done and
how much of it goes into its JSON output (``--benchmark-json``) as ``extra_info``.

A teacher of WavLM Base+'s size through the whole distillation (``--benchmark-only -k base_sized``).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from speed import distillation, encoders, training
from speed.contest import Candidates

from skill_bench.corpora.listing import list_audio
from skill_bench.distillation.distill import Student, distill
from skill_bench.distillation.recipe import load_recipe
from skill_bench.models import checkpoint, factories
from skill_bench.pretraining.pretrain import SMALL_TEACHER
from skill_bench.training.engine import Engine

GRAPHS = (encoders.OURS, encoders.INT8, encoders.ALL_THREADS)
CONTESTS: dict[str, tuple[Callable[[], Candidates], tuple[str, ...]]] = {
    "teacher": (
        lambda: encoders.teacher(batch_size=1, utterance_seconds=10.0),
        (*GRAPHS, encoders.EAGER, encoders.COMPILED, "torchaudio", "transformers"),
    ),
    "student": (
        lambda: encoders.student(batch_size=1, utterance_seconds=10.0),
        (*GRAPHS, encoders.EAGER, encoders.COMPILED, "its teacher"),
    ),
    "distillation": (distillation.against_straightforward, ("skill-bench", "straightforward")),
    "removal": (
        lambda: distillation.before_and_after_removal(architecture=SMALL_TEACHER),
        ("after removal", "the same gates shut, nothing removed", "gates as they start"),
    ),
    "grid": (training.grid, ("skill-bench", "one cell after the other")),
    "cache": (training.upstream_every_step, ("skill-bench, 15 cells", "upstream at every step, 1 cell")),
}
CHANGES = (
    "data.seconds_per_batch=2.2", "groups.n_calibration_utterances=3", "sparsity.ramp_updates=1",
    "joint={n_updates=3, learning_rate=2e-4, warmup_updates=1}",
    "final={n_updates=2, learning_rate=1e-4, warmup_updates=1}",
    "sparsity.tolerance=false",
)  # fmt: skip


@pytest.fixture(scope="module")
def contest() -> Callable[[str], Candidates]:
    made: dict[str, Candidates] = {}

    def get(name: str) -> Candidates:
        if name not in made:
            made.clear()  # one model at a time
            made[name] = CONTESTS[name][0]()
        return made[name]

    return get


@pytest.mark.parametrize(
    ("name", "contestant"), [(name, one) for name, (_, contestants) in CONTESTS.items() for one in contestants]
)
def test_speed(benchmark: Any, contest: Callable[[str], Candidates], name: str, contestant: str) -> None:
    candidates = contest(name)
    assert tuple(candidates.run) == CONTESTS[name][1]
    benchmark.group = candidates.name
    benchmark.extra_info |= {
        "what": candidates.what,
        "amount": candidates.amount,
        "unit": candidates.unit,
        "n_threads": torch.get_num_threads(),
    }
    benchmark.pedantic(candidates.run[contestant], rounds=5, warmup_rounds=1)


@pytest.mark.benchmark(group="distillation at WavLM Base+'s size, 3 + 2 updates of 2 s on random weights")
def test_base_sized_teacher(benchmark: Any, tmp_path: Path) -> None:
    """Needs 4 GiB of memory and of disk; the published students have 23.6 M parameters."""
    random = np.random.default_rng(0)
    speech = tmp_path / "speech"
    speech.mkdir()
    for number in range(6):
        soundfile.write(speech / f"{number}.wav", 0.1 * random.standard_normal(32_000 + 1600 * number), 16_000)
    torch.manual_seed(0)
    checkpoint.save(factories.wavlm_base(), tmp_path / "teacher.safetensors", metadata={})
    teacher, processes = checkpoint.load(tmp_path / "teacher.safetensors"), Engine(device="cpu").launch()
    recipe = load_recipe("skill", changes=CHANGES)
    students: list[Student] = []

    def run() -> None:
        folder = tmp_path / "work"
        students.append(distill(teacher, list_audio([speech]), recipe=recipe, folder=folder, processes=processes))

    benchmark.pedantic(run, rounds=1)
    benchmark.extra_info |= {"n_threads": torch.get_num_threads(), "audio_seconds": 5 * 2.1}
    student = students[0]
    assert float(student.metadata["sparsity"]) == pytest.approx(0.75, abs=0.005)
    assert sum(p.numel() for p in student.encoder.parameters()) == int(student.metadata["n_parameters"])
