"""Masked prediction on tones: it learns, goes on from given weights, and continues when it was stopped."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from on_update import OnUpdate
from tiny import tone

from skill_bench.corpora.data import Utterance
from skill_bench.models.encoder import Encoder
from skill_bench.models.factories import architecture
from skill_bench.pretraining.recipe import Iteration, PretrainRecipe, pretrain
from skill_bench.training.loop import Schedule

SHAPE = architecture(
    channels=8, dim=16, n_layers=2, n_heads=2, ffn_dim=32, position_kernel=8, position_groups=2
)  # fmt: skip


@pytest.fixture
def speech(tmp_path: Path) -> list[Utterance]:
    paths = [tone(tmp_path / f"{hertz}.wav", hertz) for hertz in (200, 400, 800, 1600)]
    return [
        Utterance(id=path.name, path=path, target="", speaker=None, seconds=0.6, source=path.name) for path in paths
    ]


def iteration(n_updates: int, *, layer: int | None = None) -> Iteration:
    return Iteration(
        n_units=4, layer=layer, schedule=Schedule(n_updates=n_updates, learning_rate=3e-3, warmup_updates=2)
    )


def recipe(*iterations: Iteration) -> PretrainRecipe:
    return PretrainRecipe(
        iterations=iterations, supervised_layers=(1, 2), seconds_per_batch=2.4, min_seconds=0.1, unit_batches=2
    )


def test_masked_units_of_tones_are_learnt(tmp_path: Path, speech: list[Utterance]) -> None:
    losses: list[float] = []
    pretrain(
        SHAPE,
        speech,
        recipe=recipe(iteration(120)),
        folder=tmp_path / "work",
        progress=OnUpdate(lambda update, n_updates, log: losses.append(log["loss"])),
    )
    of_guessing = 1.5 * math.log(4)  # masked frames, and visible ones at half the weight
    assert sum(losses[-5:]) / 5 < 0.9 * of_guessing < sum(losses[:5]) / 5


def test_it_goes_on_from_given_weights(tmp_path: Path, speech: list[Utterance]) -> None:
    start = Encoder(SHAPE)
    same = pretrain(SHAPE, speech, recipe=recipe(iteration(0, layer=1)), folder=tmp_path / "a", start=start)
    for name, value in same.state_dict().items():
        torch.testing.assert_close(value, start.state_dict()[name], rtol=0, atol=0)
    moved = pretrain(SHAPE, speech, recipe=recipe(iteration(1, layer=1)), folder=tmp_path / "b", start=start)
    weight = "layers.1.feed_forward.up.weight"
    assert not torch.equal(moved.state_dict()[weight], start.state_dict()[weight])


def test_a_stopped_run_gives_the_same_weights(tmp_path: Path, speech: list[Utterance]) -> None:
    wanted = recipe(iteration(6), iteration(4, layer=1))
    whole = pretrain(SHAPE, speech, recipe=wanted, folder=tmp_path / "whole").state_dict()

    def stop(update: int, n_updates: int, log: object) -> None:
        if n_updates == 4 and update == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pretrain(SHAPE, speech, recipe=wanted, folder=tmp_path / "stopped", progress=OnUpdate(stop))
    resumed = pretrain(SHAPE, speech, recipe=wanted, folder=tmp_path / "stopped").state_dict()
    for name, value in whole.items():
        torch.testing.assert_close(resumed[name], value, rtol=0, atol=0)
