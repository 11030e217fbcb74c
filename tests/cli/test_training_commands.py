"""What each command of training refuses before speech is read, what its options change, what ``groups`` writes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_models import noise, small_teacher

from skill_bench.base.errors import UsageError
from skill_bench.distillation import distill as method
from skill_bench.distillation.recipe import load_recipe
from skill_bench.layers.options import SimilarGroups

DISTILL = "distill --teacher t.safetensors --data noise --out x.safetensors"
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


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (f"{DISTILL} --recipe skil", 2, "unknown recipe 'skil'. Did you mean 'skill'?"),
        (f"{DISTILL} --set joint.n_update=3", 2, "unknown key 'joint.n_update'. Did you mean 'n_updates'?"),
        (f"{DISTILL} --device tpu", 2, "training options: key 'device': String should match"),
        (f"{DISTILL} --precision fp16 --device cpu", 2, "precision fp16 needs a GPU. Use fp32 or bf16."),
        (DISTILL.replace("x.safetensors", "x.pt"), 2, "--out x.pt: expected a name ending in .safetensors."),
        (DISTILL.replace("t.safetensors", "gone.pt"), 2, "gone.pt: no such checkpoint. Check the path."),
        (DISTILL.replace("--data noise", "--data gone"), 2, "gone: no such file or folder. Expected a folder of audio"),
        ("plan distill --teacher gone.pt --data noise", 2, "gone.pt: no such checkpoint. Check the path."),
        ("plan distill --teacher t.safetensors --data noise --recipe skil", 2, "Did you mean 'skill'?"),
        ("pretrain --data gone --out x.safetensors", 2, "gone: no such file or folder. Expected a folder of audio"),
        ("similarity --teacher gone.pt --data noise", 2, "gone.pt: no such checkpoint. Check the path."),
        ("export t.safetensors", 2, "Missing option"),
        ("export gone.pt", 2, "gone.pt: no such checkpoint. Check the path."),
    ],
)
def test_what_cannot_be_trained_is_said_at_once(
    arguments: str, code: int, message: str, command: Callable[..., Any], tmp_path: Path
) -> None:
    before = {path.name for path in tmp_path.iterdir()}
    ended = command(*arguments.split())
    assert ended.code == code
    assert message in ended.err
    assert {path.name for path in tmp_path.iterdir()} == before, "nothing was begun"


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What would have been distilled."""
    found: list[dict[str, Any]] = []

    def distil(loaded: Any, utterances: Any, *, recipe: Any, folder: Path, processes: Any, **_: Any) -> None:
        engine = processes.engine.model_dump()
        found.append({"recipe": recipe, "folder": folder, "n": len(utterances), **engine})
        raise UsageError("enough")

    monkeypatch.setattr(method, "distill", distil)
    return found


@pytest.mark.parametrize(
    ("option", "name", "value"),
    [
        ("--work-dir elsewhere", "folder", Path("elsewhere")),
        ("--max-seconds-per-device 7.5", "max_seconds_per_device", 7.5),
        ("--checkpoint-every 3", "checkpoint_every_updates", 3),
        ("--precision bf16", "precision", "bf16"),
        ("--tensorboard", "tensorboard", True),
        ("--data noise/0.wav", "n", 4),
    ],
)
def test_each_option_of_distill_alone_reaches_the_training(
    option: str, name: str, value: object, command: Callable[..., Any], seen: list[dict[str, Any]]
) -> None:
    plain = f"{DISTILL} --device cpu"
    for arguments in (plain, f"{plain} {option}"):
        assert command(*arguments.split()).code == 2
    before, after = seen
    assert after == before | {name: value}
    assert (after != before) == (name != "n"), "a file that is in a folder as well is heard once"


@pytest.mark.parametrize(
    ("option", "of"),
    [
        ("--recipe dphubert", lambda recipe: recipe.name == "dphubert"),
        ("--seed 7", lambda recipe: recipe.seed == 7),
        ("--set sparsity.target=0.3", lambda recipe: recipe.sparsity.target == 0.3),
        ("--scale-updates 0.5", lambda recipe: recipe.joint.n_updates == 25_000),
    ],
)
def test_each_change_of_the_recipe_alone_reaches_the_training(
    option: str, of: Callable[[Any], bool], command: Callable[..., Any], seen: list[dict[str, Any]]
) -> None:
    plain = f"{DISTILL} --device cpu"
    for arguments in (plain, f"{plain} {option}"):
        assert command(*arguments.split()).code == 2
    before, after = seen
    assert not of(before["recipe"])
    assert of(after["recipe"])


@pytest.mark.parametrize("recipe", ["skill", "mine.toml"])
def test_the_best_number_of_groups_becomes_a_recipe(recipe: str, command: Callable[..., Any], tmp_path: Path) -> None:
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
def test_what_groups_cannot_try_is_said_at_once(arguments: str, message: str, command: Callable[..., Any]) -> None:
    ended = command(*GROUPS.split(), *arguments.split())
    assert ended.code == 2
    assert message in ended.err
