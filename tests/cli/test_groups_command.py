"""``groups``: from short distillations to a recipe, and what it refuses."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_models import noise, small_teacher

from skill_bench.distillation.recipe import load_recipe
from skill_bench.layers.options import SimilarGroups

GROUPS = "groups --teacher t.safetensors --data noise --held-out other --folds 3 --split all --device cpu"
SHORT = (
    "data.seconds_per_batch=1 data.min_seconds=0.1 joint.n_updates=4 final.n_updates=2 joint.warmup_updates=1 "
    "final.warmup_updates=1 sparsity.tolerance=false sparsity.ramp_updates=2 groups.n_calibration_utterances=4"
)


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with a teacher, speech, and speech of others."""
    monkeypatch.chdir(tmp_path)
    small_teacher(tmp_path / "t.safetensors")
    noise(tmp_path / "noise", n=4)
    noise(tmp_path / "other", n=6)


@pytest.mark.parametrize("recipe", ["skill", "mine.toml"])
def test_the_best_number_becomes_a_recipe(recipe: str, command: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('extends = "skill"\n[groups]\nlinkage = "complete"\n')
    changes = [part for change in SHORT.split() for part in ("--set", change)]
    out = tmp_path / "made" / "best.toml"
    ended = command(
        *GROUPS.split(), "--recipe", recipe, "--numbers", "2,4", *changes, "--scale-updates", "1", "--out", str(out)
    )
    assert ended.code == 0, ended.err
    head, best, other, written = ended.out.splitlines()
    assert head.split()[:3] == ["groups", "whitened", "R2"]
    assert {best.split()[0], other.split()[0]} == {"2", "4"}
    assert float(best.split()[1]) > float(other.split()[1])
    assert other.split()[2].startswith("-0.")
    assert written == f"written to {out}"
    found, plain = load_recipe(str(out)), load_recipe(recipe)
    assert isinstance(found.groups, SimilarGroups)
    assert found.groups.n_groups == int(best.split()[0])
    assert found.joint == plain.joint, "what was set for the trial stays with the trial"
    assert found.groups.linkage == ("complete" if recipe == "mine.toml" else "average")
    assert {path.name for path in out.with_suffix(".work").glob("*.safetensors")} == {
        "groups-2.safetensors",
        "groups-4.safetensors",
    }
    assert os.listdir(out.parent).count("best.toml") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--out x.json", "--out x.json: expected a name ending in .toml."),
        ("--out x.toml --numbers two", "--numbers 'two': expected numbers of groups such as 2-8 or 2,4,13."),
        ("--out x.toml --numbers 8-2", "--numbers '8-2': expected numbers of groups such as"),
        ("--out x.toml --numbers 0-2", "--numbers '0-2': expected numbers of groups such as"),
        ("--out x.toml --recipe skil", "unknown recipe 'skil'. Did you mean 'skill'?"),
        ("--out x.toml --recipe dphubert", "recipe dphubert: its groups are given by hand"),
        ("--out x.toml --held-out noise", "4 of 10 held-out utterances are also trained on, first noise/0.wav"),
    ],
)
def test_what_cannot_be_tried_is_said_at_once(arguments: str, message: str, command: Callable[..., Any]) -> None:
    ended = command(*GROUPS.split(), *arguments.split())
    assert ended.code == 2
    assert message in ended.err
