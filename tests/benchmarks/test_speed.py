"""How fast the two hot paths are: `pytest tests/benchmarks --benchmark-only`. Nothing here asserts a time.

pytest-benchmark prints minimum, median and maximum of each; batch, length, dtype and threads go into its JSON output
(``--benchmark-json``) as ``extra_info``.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from skill_bench.compress.gates import Gates
from skill_bench.compress.losses import GroupDistillation, group_averages
from skill_bench.compress.recipe import load_recipe
from skill_bench.compress.sparsity import Lagrangian, Sizes, n_parameters
from skill_bench.measure.throughput import noise
from skill_bench.models import factories
from skill_bench.models.architecture import Architecture
from skill_bench.models.encoder import Encoder, pad
from skill_bench.probes import heads
from skill_bench.probes.optimizer import GridAdam
from skill_bench.probes.parameters import repeat
from skill_bench.tasks import Head

CPU = torch.device("cpu")
UTTERANCE_SECONDS = 10.0
LEARNING_RATES = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)


def small_wavlm() -> Architecture:
    """A WavLM of a few million parameters, the size of what is distilled on a laptop."""
    return factories.architecture(
        channels=128, dim=192, n_layers=12, n_heads=4, ffn_dim=768, relative_position=factories.WAVLM_POSITION
    )


def describe(benchmark: Any, *, batch_size: int, seconds: float) -> None:
    benchmark.extra_info |= {
        "batch_size": batch_size,
        "utterance_seconds": seconds,
        "audio_seconds": batch_size * seconds,
        "dtype": "float32",
        "device": "cpu",
        "n_threads": torch.get_num_threads(),
    }


@pytest.mark.benchmark(group="extraction")
@pytest.mark.parametrize(("size", "batch_size"), [("small", 1), ("small", 4), ("base", 1)])
def test_extraction(benchmark: Any, size: str, batch_size: int) -> None:
    torch.manual_seed(0)
    encoder = Encoder(small_wavlm()).eval() if size == "small" else factories.wavlm_base().eval()
    batch, lengths = pad(noise(batch_size=batch_size, seconds=UTTERANCE_SECONDS, device=CPU, dtype=torch.float32))
    describe(benchmark, batch_size=batch_size, seconds=UTTERANCE_SECONDS)

    def extract() -> list[torch.Tensor]:
        with torch.inference_mode():
            states: list[torch.Tensor] = encoder(batch, lengths)[0]
            return states

    states = benchmark.pedantic(extract, rounds=5, warmup_rounds=1)
    assert len(states) == 13
    assert all(bool(state.isfinite().all()) for state in states)


@pytest.mark.benchmark(group="training step")
def test_distillation_step(benchmark: Any) -> None:
    """One update of the joint stage: teacher, gated student, distance, expected size, backward, AdamW."""
    torch.manual_seed(0)
    architecture, seconds, batch_size = small_wavlm(), 4.0, 2
    teacher, student = Encoder(architecture).eval(), Encoder(architecture).train()
    groups = ((0,), (1, 2, 3, 4), (5, 6, 7, 8), (9, 10, 11, 12))
    recipe = load_recipe("skill")
    assert recipe.sparsity
    target = GroupDistillation(dim=192, n_groups=len(groups), options=recipe.loss)
    gates = Gates(architecture, recipe.sparsity).train()
    lagrangian = Lagrangian()
    optimizer = torch.optim.AdamW([*student.parameters(), *target.parameters(), *gates.parameters()], lr=2e-4)
    full_size = n_parameters(architecture, Sizes.of(architecture))
    waves, _ = pad(noise(batch_size=batch_size, seconds=seconds, device=CPU, dtype=torch.float32))
    describe(benchmark, batch_size=batch_size, seconds=seconds)

    def step() -> float:
        with torch.no_grad():
            taught = group_averages(teacher.walk(waves), groups)
        distance, _ = target(group_averages(student.walk(waves, gates.masks()), groups), taught)
        sparsity = 1 - n_parameters(architecture, Sizes.expected(gates, architecture)) / full_size
        loss = distance + lagrangian(sparsity, 0.75)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return float(loss.item())

    assert torch.isfinite(torch.tensor(benchmark.pedantic(step, rounds=5, warmup_rounds=1)))


@pytest.mark.benchmark(group="training step")
def test_probe_step(benchmark: Any) -> None:
    """One step of a linear probe on pooled features, for five learning rates at once."""
    generator = torch.Generator().manual_seed(0)
    head, batch_size = Head(projection_dim=256), 32
    initial = heads.initial(head, n_layers=13, dim=768, n_outputs=12, generator=generator)
    parameters = repeat(initial, cells=len(LEARNING_RATES), device=CPU)
    optimizer = GridAdam(parameters=parameters, learning_rates=torch.tensor(LEARNING_RATES), clip_norm=1.0)
    features = torch.randn(13, batch_size, 768, generator=generator)
    labels = torch.arange(batch_size) % 12
    benchmark.extra_info |= {
        "batch_size": batch_size,
        "learning_rates": len(LEARNING_RATES),
        "dtype": "float32",
        "device": "cpu",
        "n_threads": torch.get_num_threads(),
    }

    def step() -> float:
        logits = heads.logits(head, parameters, features, lengths=[1] * batch_size)
        flat = logits.flatten(0, 1)
        loss = torch.nn.functional.cross_entropy(flat, labels.repeat(len(LEARNING_RATES)), reduction="sum")
        (loss / batch_size).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return float(loss.item())

    assert torch.isfinite(torch.tensor(benchmark.pedantic(step, rounds=20, warmup_rounds=2)))
