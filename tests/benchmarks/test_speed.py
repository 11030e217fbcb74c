"""The contests of `skill-bench bench` under pytest-benchmark: `pytest tests/benchmarks --benchmark-only`.

Nothing here asserts a time. pytest-benchmark prints minimum, median and maximum of each contestant; what was done and
how much of it goes into its JSON output (``--benchmark-json``) as ``extra_info``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from speed import distillation, encoders, training
from speed.contest import Candidates

from skill_bench.pretraining.pretrain import SMALL_TEACHER

CONTESTS: dict[str, tuple[Callable[[], Candidates], tuple[str, ...]]] = {
    "teacher": (
        lambda: encoders.teacher(batch_size=1, utterance_seconds=10.0),
        ("skill-bench", "skill-bench, plain path", "torchaudio", "transformers"),
    ),
    "student": (
        lambda: encoders.student(batch_size=1, utterance_seconds=10.0),
        ("skill-bench", "skill-bench, plain path", "its teacher"),
    ),
    "distillation": (distillation.against_straightforward, ("skill-bench", "straightforward")),
    "removal": (
        lambda: distillation.before_and_after_removal(architecture=SMALL_TEACHER),
        ("after removal", "the same gates shut, nothing removed", "gates as they start"),
    ),
    "grid": (training.grid, ("skill-bench", "one cell after the other")),
    "cache": (training.upstream_every_step, ("skill-bench, 15 cells", "upstream at every step, 1 cell")),
}


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
