"""Training of probes: a grid as one computation, and steps with the upstream run anew as s3prl does."""

from __future__ import annotations

from pathlib import Path

import torch

from skill_bench.corpora.data import Fold, Utterance
from skill_bench.evaluation.kinds.utterance.problem import LabelProblem
from skill_bench.evaluation.task_files import load_task
from skill_bench.measure.throughput import noise
from skill_bench.models import factories
from skill_bench.models.architecture import Architecture
from skill_bench.models.encoder import Encoder
from skill_bench.models.size import size_of
from skill_bench.probes.training import train_grid
from skill_bench.tasks import Protocol, TrainedSpec
from speed.contest import Candidates
from speed.encoders import OURS

_CPU = torch.device("cpu")
_SEEDS, _RATES = (0, 1, 2), (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
_N_CLASSES = 12


def small_wavlm() -> Architecture:
    """A WavLM of a few million parameters, the size of what is distilled on a laptop."""
    return factories.architecture(
        channels=128, dim=192, n_layers=12, n_heads=4, ffn_dim=768, relative_position=factories.WAVLM_POSITION
    )


def grid(*, steps: int = 50) -> Candidates:
    """Five learning rates and three seeds of a linear probe as one computation, and one after the other."""
    problem = _problem(dim=768, n_layers=13)

    def together() -> None:
        _train(problem, _protocol(steps, _RATES), _SEEDS)

    def apart() -> None:
        for seed in _SEEDS:
            for rate in _RATES:
                _train(problem, _protocol(steps, (rate,)), (seed,))

    return Candidates(
        name="Grid of a linear probe",
        what=(
            f"{steps} steps of batch 32 on time means of 13 layers of width 768, {len(_RATES)} learning rates and "
            f"{len(_SEEDS)} seeds."
        ),
        amount=steps,
        unit="steps of all",
        run={OURS: together, "one cell after the other": apart},
    )


def upstream_every_step(*, batch_size: int = 32) -> Candidates:
    """A step of the whole grid on cached means, and a step of one cell that runs the upstream first."""
    torch.manual_seed(0)
    encoder = Encoder(small_wavlm()).eval()
    waves = torch.stack(noise(batch_size=batch_size, seconds=1.0, device=_CPU, dtype=torch.float32))
    problem = _problem(dim=192, n_layers=13)
    steps = 10

    def cached() -> None:
        _train(problem, _protocol(steps, _RATES), _SEEDS)

    def uncached() -> None:
        for _ in range(steps):
            with torch.inference_mode():
                encoder(waves)
        _train(problem, _protocol(steps, _RATES[:1]), _SEEDS[:1])

    return Candidates(
        name="Keyword spotting with and without the cache",
        what=(
            f"{steps} steps of {batch_size} utterances of 1 s, upstream of "
            f"{size_of(encoder) / 1e6:.1f} M parameters. With the cache: all 15 cells, "
            "features read. Without, as s3prl's trainer does: one cell, the upstream, in torch, run at every step."
        ),
        amount=steps,
        unit="steps",
        run={f"{OURS}, 15 cells": cached, "upstream at every step, 1 cell": uncached},
    )


def _train(problem: LabelProblem, protocol: Protocol, seeds: tuple[int, ...]) -> None:
    train_grid(
        problem,
        protocol,
        higher_is_better=True,
        seeds=seeds,
        fold="bench",
        device=_CPU,
        advance=lambda n: None,
    )


def _protocol(steps: int, rates: tuple[float, ...]) -> Protocol:
    return Protocol(learning_rates=rates, steps=steps, batch_size=32, evaluate_every_steps=steps)


def _problem(*, dim: int, n_layers: int, n_train: int = 1000, n_dev: int = 100) -> LabelProblem:
    """Random means of random classes."""
    generator = torch.Generator().manual_seed(0)
    items = [
        Utterance(id=str(i), path=Path(str(i)), target=f"c{i % _N_CLASSES}", speaker=None, seconds=1.0, source="")
        for i in range(n_train + n_dev)
    ]
    features = {item.id: torch.randn(n_layers, dim, generator=generator) for item in items}
    dev = tuple(items[n_train:])
    found = load_task("ks").for_suite("demo")
    assert isinstance(found, TrainedSpec)
    task = found.model_copy(update={"protocol": _protocol(1, _RATES)})
    fold = Fold(name="bench", train=tuple(items[:n_train]), dev=dev, test=dev)
    return LabelProblem(task=task, fold=fold, train=features, held_out=features, device=_CPU)
