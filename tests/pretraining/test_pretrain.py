"""Masked prediction on tones: it learns, goes on from given weights, and continues when it was stopped."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from small_models import OnUpdate
from tiny import tone

from skill_bench.base.errors import CheckpointError
from skill_bench.corpora.data import Utterance
from skill_bench.models import checkpoint
from skill_bench.models.encoder import Encoder
from skill_bench.models.factories import architecture
from skill_bench.pretraining.pretrain import make_teacher, pretrain
from skill_bench.pretraining.recipe import PretrainRecipe, load_recipe
from skill_bench.pretraining.units import Targets
from skill_bench.training.engine import Engine

SHAPE = architecture(
    channels=8, dim=16, n_layers=2, n_heads=2, ffn_dim=32, position_kernel=8, position_groups=2
)  # fmt: skip


@pytest.fixture
def speech(tmp_path: Path) -> list[Utterance]:
    paths = [tone(tmp_path / f"{hertz}.wav", hertz) for hertz in (200, 400, 800, 1600)]
    return [
        Utterance(id=path.name, path=path, target="", speaker=None, seconds=0.6, source=path.name) for path in paths
    ]


BASIC = ("prediction.layers=[1, 2]", "data.seconds_per_batch=2.4", "data.min_seconds=0.1", "unit_batches=2")


FOUR = "{features='mfcc', n_units=4}"


def recipe(first: int, second: int = 0, *, units: str = f"[{FOUR}]") -> PretrainRecipe:
    """So many updates on units of MFCC, then so many on units of hidden state 1."""
    changes = [*BASIC]
    for name, updates in (("first", first), ("second", second)):
        table = f"iterations.{name}"
        changes += [f"{table}.n_updates={updates}", f"{table}.learning_rate=3e-3", f"{table}.units={units}"]
        changes += [f"{table}.warmup_updates={min(2, updates)}"] if updates else [f"{table}=false"]
    changes += ["iterations.second.units=[{features=1, n_units=4}]"] if second else []
    return load_recipe("small", changes=changes)


@pytest.fixture
def few_updates(speech: list[Utterance], tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """The weights after three updates on tones of two lengths, by a recipe with these changes."""
    longer = tone(tmp_path / "longer.wav", 3200, seconds=0.8)
    more = [*speech, replace(speech[0], id=longer.name, path=longer, seconds=0.8, source=longer.name)]

    def train(*changes: str) -> dict[str, Any]:
        three = ("n_updates=3", "warmup_updates=1", f"units=[{FOUR}]", "learning_rate=3e-3")
        first = [f"iterations.first.{change}" for change in three]
        wanted = load_recipe("small", changes=[*BASIC, *first, "iterations.second=false", *changes])
        return pretrain(SHAPE, more, recipe=wanted, folder=tmp_path / f"work {changes}".replace("/", "")).state_dict()

    return train


def same(left: dict[str, Any], right: dict[str, Any]) -> bool:
    return all(torch.equal(value, right[name]) for name, value in left.items()) and len(left) == len(right) > 0


@pytest.mark.parametrize(("units", "precision"), [(FOUR, "fp32"), (f"{FOUR}, {FOUR}", "fp32"), (FOUR, "bf16")])
def test_masked_units_of_tones_are_learnt(tmp_path: Path, speech: list[Utterance], units: str, precision: Any) -> None:
    losses: list[float] = []
    pretrain(
        SHAPE,
        speech,
        recipe=recipe(70, units=f"[{units}]"),
        folder=tmp_path / "work",
        processes=Engine(device="cpu", precision=precision).launch(),
        progress=OnUpdate(lambda update, n_updates, log: losses.append(log["loss"])),
    )
    of_guessing = 1.5 * math.log(4)  # masked frames, and visible ones at half the weight
    assert sum(losses[-5:]) / 5 < 0.9 * of_guessing < sum(losses[:5]) / 5


def test_it_goes_on_from_given_weights(tmp_path: Path, speech: list[Utterance]) -> None:
    start = Encoder(SHAPE)
    weights = []
    for rate in ("1e-30", "3e-3"):
        changed = recipe(0, 1).model_copy(update={"dropout": 0.0})
        second = changed.rounds["second"].model_copy(update={"learning_rate": float(rate)})
        changed = changed.model_copy(update={"iterations": {"second": second}})
        weights.append(
            pretrain(SHAPE, speech, recipe=changed, folder=tmp_path / rate, start=start).state_dict()[
                "layers.1.feed_forward.up.weight"
            ]
        )
    still, moved = weights
    assert torch.equal(still, start.state_dict()["layers.1.feed_forward.up.weight"])
    assert not torch.equal(moved, still)


@pytest.mark.parametrize(
    "change",
    [
        "seed=1",
        "dropout=0.2",
        "unit_batches=1",
        "iterations.first.units=[{features='mfcc', n_units=5}]",
        "iterations.first.units=[{features=1, n_units=4}]",
        f"iterations.first.units=[{FOUR}, {FOUR}]",
        "iterations.first.learning_rate=1e-3",
        "iterations.first.warmup_updates=0",
        "iterations.first.final_factor=0.5",
        "iterations.first.max_seconds=0.3",
        "prediction.layers=[1]",
        "prediction.visible_weight=0.1",
        "masking.start_probability=0.2",
        "masking.n_frames=4",
        "corruption.mixing_probability=0.9",
        "corruption.mixing_db=[0, 1]",
        "corruption.noise_probability=0.9",
        "corruption.noise_db=[0, 1]",
        "corruption.gain_db=1",
        "optimizer.betas=[0.5, 0.9]",
        "optimizer.weight_decay=0.5",
        "optimizer.max_gradient_norm=0.01",
        "data.seconds_per_batch=1.2",
        "data.min_seconds=0.7",
        "data.max_seconds=0.3",
    ],
)
def test_each_number_alone_decides_what_is_learnt(change: str, few_updates: Callable[..., dict[str, Any]]) -> None:
    assert not same(few_updates(change), few_updates())


def test_the_same_recipe_gives_the_same_weights(few_updates: Callable[..., dict[str, Any]]) -> None:
    assert same(few_updates("seed=3"), few_updates("seed = 3"))


def stopped(tmp_path: Path, speech: list[Utterance], wanted: PretrainRecipe) -> Path:
    """A run that was stopped in its second iteration."""

    def stop(update: int, n_updates: int, log: object) -> None:
        if n_updates == 4 and update == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pretrain(SHAPE, speech, recipe=wanted, folder=tmp_path / "stopped", progress=OnUpdate(stop))
    return tmp_path / "stopped"


def test_a_stopped_run_gives_the_same_weights(
    tmp_path: Path, speech: list[Utterance], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = recipe(6, 4)
    whole = pretrain(SHAPE, speech, recipe=wanted, folder=tmp_path / "whole").state_dict()
    folder = stopped(tmp_path, speech, wanted)
    # What was clustered is read, not clustered again: k-means need not come to the same on another day.
    monkeypatch.setattr(Targets, "fit", None)
    assert same(pretrain(SHAPE, speech, recipe=wanted, folder=folder).state_dict(), whole)


def test_units_of_another_recipe_are_refused(tmp_path: Path, speech: list[Utterance]) -> None:
    folder = stopped(tmp_path, speech, recipe(6, 4))
    with pytest.raises(CheckpointError, match=r"iteration-1\.units: is damaged or of another recipe .* Delete the"):
        pretrain(SHAPE, speech, recipe=recipe(6, 4, units="[{features='mfcc', n_units=3}]"), folder=folder)
    (folder / "iteration-1.units").write_bytes(b"half")
    with pytest.raises(CheckpointError, match=r"iteration-1\.units: is damaged or of another recipe"):
        pretrain(SHAPE, speech, recipe=recipe(6, 4), folder=folder)


def test_a_teacher_on_disk(tmp_path: Path, speech: list[Utterance]) -> None:
    checkpoint.save(Encoder(SHAPE), tmp_path / "start.safetensors", metadata={})
    begun = checkpoint.load(tmp_path / "start.safetensors")
    wanted = recipe(0, 1)
    made = make_teacher(
        speech, tmp_path / "out.safetensors", recipe=wanted, folder=tmp_path / "work", start=begun
    ).state_dict()
    loaded = checkpoint.load(tmp_path / "out.safetensors")
    assert PretrainRecipe.model_validate_json(loaded.metadata["recipe"]) == wanted
    assert loaded.metadata["started_from"] == begun.sha256
    assert loaded.metadata["recorded_hours"] == f"{4 * 0.6 / 3600:.3f}"
    for name, value in loaded.encoder.state_dict().items():
        assert torch.equal(value, made[name].half().float())
