"""Recipes: the published numbers, what a control shares with SKILL, and messages for faults.

Recipes against the settings of the published programs: nothing differs that is not declared.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from recipe_settings import leaves, undeclared

from skill_bench.base.errors import SpecError, UnknownName, UsageError
from skill_bench.distillation import groups, originals
from skill_bench.distillation.recipe import load_recipe, names
from skill_bench.layers.options import FixedGroups, RandomGroups, SimilarGroups

PAGE = Path(__file__).parents[2] / "docs" / "recipes.md"


def test_the_catalog() -> None:
    assert names() == ["distilhubert", "dphubert", "random_groups", "skill", "skill_whitened", "uniform_groups"]
    assert [load_recipe(name).name for name in names()] == names()


def test_dphuberts_published_schedule() -> None:
    recipe = load_recipe("dphubert")
    assert recipe.joint
    assert recipe.sparsity
    assert (recipe.joint.n_updates, recipe.joint.learning_rate, recipe.joint.warmup_updates) == (50_000, 2e-4, 15_000)
    assert (recipe.final.n_updates, recipe.final.learning_rate, recipe.final.warmup_updates) == (25_000, 1e-4, 5_000)
    assert (recipe.sparsity.target, recipe.sparsity.ramp_updates, recipe.sparsity.temperature) == (0.75, 5_000, 2 / 3)
    assert isinstance(recipe.groups, FixedGroups)
    assert recipe.groups.layers == ((0,), (4,), (8,), (12,))
    assert recipe.loss.head_numbers(4) == [0, 1, 1, 1]
    assert load_recipe("skill").loss.head_numbers(4) == [0, 1, 2, 3]


@pytest.mark.parametrize("name", ["dphubert", "random_groups", "skill_whitened", "uniform_groups"])
def test_recipes_to_compare_differ_from_skill_in_the_groups_alone(name: str) -> None:
    ours, skill = load_recipe(name).model_dump(), load_recipe("skill").model_dump()
    differs = {key for key in skill if ours[key] != skill[key]}
    assert differs == {"name", "title", "source", "groups"} | ({"loss"} if name == "dphubert" else set())


def test_skill_whitened_is_skill_with_another_measure() -> None:
    found = load_recipe("skill_whitened").groups
    assert isinstance(found, SimilarGroups)
    assert found.measure == "whitened_cka"
    assert found.model_copy(update={"measure": "cka"}) == load_recipe("skill").groups


def test_distilhubert_has_the_updates_of_its_paper() -> None:
    recipe = load_recipe("distilhubert")
    assert recipe.joint is False
    assert (recipe.final.n_updates, recipe.final.warmup_updates) == (200_000, 14_000)


def test_changes_and_scaling() -> None:
    changes = [
        "joint.n_updates=2000",
        "loss.heads=shared",
        "groups={method='random', n_groups=2, include_input=false, seed=3}",
    ]
    recipe = load_recipe("skill", changes=[*changes, "joint.warmup_updates=600"], scale_updates=0.5)
    assert recipe.joint
    assert recipe.sparsity
    assert (recipe.joint.n_updates, recipe.joint.warmup_updates, recipe.final.n_updates) == (1000, 300, 12_500)
    assert recipe.sparsity.ramp_updates == 2500
    assert recipe.loss.head_numbers(3) == [0, 0, 0]
    assert recipe.groups == RandomGroups(method="random", n_groups=2, include_input=False, seed=3)


def test_scaling_leaves_none_at_none() -> None:
    recipe = load_recipe("skill", changes=["sparsity.ramp_updates=0", "final.warmup_updates=0"], scale_updates=1e-3)
    assert recipe.sparsity
    assert recipe.joint
    assert (recipe.joint.n_updates, recipe.sparsity.ramp_updates, recipe.final.warmup_updates) == (50, 0, 0)


def test_a_file_says_only_what_differs(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('extends = "skill"\n[groups]\nn_groups = 6\n')
    (tmp_path / "again.toml").write_text('extends = "mine.toml"\nseed = 5\n')
    recipe = load_recipe(str(tmp_path / "again.toml"))
    assert (recipe.name, recipe.seed) == ("again", 5)
    assert isinstance(recipe.groups, SimilarGroups)
    assert (recipe.groups.n_groups, recipe.groups.linkage) == (6, "average")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[joint]\nn_update = 3", r"mine\.toml: unknown key 'joint\.n_update'\. Did you mean 'n_updates'\?"),
        ("[groups]\nlinkag = 'single'", r"unknown key 'groups\.linkag'\. Did you mean 'linkage'\?"),
        ("[groups]\nmethod = 'fixed'", r"key 'groups\.layers': Field required"),
        ("[groups]\nmethod = 'nearest'", r"key 'groups': .*'nearest'"),
        ("[sparsity]\ntarget = 1.5", r"key 'sparsity\.target': .*less than 1 \(found 1\.5\)"),
        (
            "[joint]\nwarmup_updates = 60000",
            r"key 'joint': .*warmup_updates = 60000 exceeds n_updates = 50000; .*--scale-updates",
        ),
        ("joint = false", r"joint and sparsity are both tables, or both false"),
        (
            "[sparsity]\nchannel_drop_rate = false\nhead_drop_rate = false\nffn_drop_rate = false",
            r"key 'sparsity': .*every drop rate is false, so there is nothing to remove",
        ),
        (
            "[groups]\nmethod = 'fixed'\nlayers = [[1], [4, 8, 4]]",
            r"key 'groups.*the group \[4, 8, 4\] names a layer twice",
        ),
        ("[groups]\nlargest = 0", r"key 'groups\.largest': Input should be greater than 0 \(found 0\)"),
        ("[groups]\nlargest = 1.5", r"key 'groups\.largest': Input should be less than or equal to 1 \(found 1\.5\)"),
        ("[groups]\nlargest = true", r"key 'groups\.largest': Input should be a valid number \(found True\)"),
        ("[groups]\nweights = 'distance'", r"key 'groups\.weights': Input should be 'inverse_distance'"),
        ("[loss]\nnorm = 'batch'", r"key 'loss\.norm': Input should be 'layer' or 'instance' \(found 'batch'\)"),
        ("[sparsity]\ntolerance = 0", r"key 'sparsity\.tolerance': Input should be greater than 0 \(found 0\)"),
        ("name = 'x'", r"key 'name': a recipe is called as its file is"),
        ("[joint", r"cannot be read as TOML"),
    ],
)  # fmt: skip
def test_faults_name_the_file_the_key_and_the_nearest(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(f'extends = "skill"\n{text}\n')
    with pytest.raises(SpecError, match=message):
        load_recipe(str(path))


def test_faulty_commands(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match=r"unknown recipe 'skil'\. Did you mean 'skill'\?"):
        load_recipe("skil")
    with pytest.raises(SpecError, match=r"--set loss\.l1_wieght=2: unknown key .* Did you mean 'l1_weight'"):
        load_recipe("skill", changes=["loss.l1_wieght=2"])
    for value in ("1" * 5000, "[" * 5000):
        with pytest.raises(SpecError, match=r"key 'seed': "):
            load_recipe("skill", changes=[f"seed={value}"])
    with pytest.raises(UsageError, match=r"--set 'seed': expected table\.key=value"):
        load_recipe("skill", changes=["seed"])
    for factor in (0, -1.0, math.inf, math.nan):
        with pytest.raises(UsageError, match=r"updates scaled by .*: expected a number above 0"):
            load_recipe("skill", scale_updates=factor)
    (tmp_path / "a.toml").write_text('extends = "b.toml"\n')
    (tmp_path / "b.toml").write_text('extends = "a.toml"\n')
    with pytest.raises(SpecError, match=r"a\.toml: extends itself"):
        load_recipe(str(tmp_path / "a.toml"))


@given(n_layers=st.integers(4, 24), n_groups=st.integers(1, 4), seed=st.integers(0, 99), include=st.booleans())
@settings(max_examples=60, deadline=None)
@pytest.mark.parametrize("method", ["random", "uniform", "similarity"])
def test_groups_partition_the_layers(method: str, n_layers: int, n_groups: int, seed: int, include: bool) -> None:
    name = {"random": "random_groups", "uniform": "uniform_groups", "similarity": "skill"}[method]
    changes = [f"groups.n_groups={n_groups}", f"groups.include_input={str(include).lower()}"]
    changes += [f"groups.seed={seed}"] if method == "random" else []
    random = np.random.default_rng(seed).uniform(size=(n_layers + 1, n_layers + 1))
    similarity = (random + random.T) / 2
    taught, learnt = groups.choose(load_recipe(name, changes=changes), n_states=n_layers + 1, similarity=similarity)
    assert taught == learnt
    assert len(taught) == n_groups
    assert sorted(layer for group in taught for layer in group) == list(range(0 if include else 1, n_layers + 1))
    if method == "uniform":
        sizes = [len(group) for group in taught]
        assert max(sizes) - min(sizes) <= 1
        assert [layer for group in taught for layer in group] == sorted(layer for group in taught for layer in group)


def test_a_student_whose_last_layers_would_learn_nothing_is_refused() -> None:
    recipe = load_recipe("dphubert", changes=["groups.layers=[[0],[4],[8]]"])
    with pytest.raises(UsageError, match=r"layers 9 to 12 would learn nothing\. Set student\.n_layers = 8"):
        groups.choose(recipe, n_states=13, similarity=None)


@pytest.mark.parametrize("name", originals.names())
def test_every_difference_is_declared(name: str) -> None:
    original = originals.load(name)
    assert len(original.settings) > 20
    assert undeclared(original, load_recipe(original.recipe)) == []


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("dphubert", "student.attention_dropout=0.0", "student.attention_dropout = 0.0, where 0.1 is stated"),
        ("dphubert", "joint.n_updates=50001", "joint.n_updates = 50001, where 50000 is stated"),
        ("dphubert", "sparsity.hold=false", "sparsity.hold = False, where True is stated"),
        ("distilhubert", "optimizer.epsilon=1e-8", "optimizer.epsilon = 1e-08, where 1e-06 is stated"),
    ],
)
def test_a_difference_that_is_not_declared_is_named(name: str, change: str, said: str) -> None:
    assert undeclared(originals.load(name), load_recipe(name, changes=[change])) == [said]


@pytest.mark.skipif("SKILL_BENCH_S3PRL" not in os.environ, reason="SKILL_BENCH_S3PRL names no checkout of s3prl")
def test_distilhuberts_settings_are_those_of_s3prls_own_files() -> None:
    folder = "s3prl/pretrain/distiller/config_"
    stated: dict[str, Any] = {}
    found: dict[str, Any] = {}
    for file in (f"{folder}model.yaml", f"{folder}runner.yaml"):
        stated |= {name: setting.value for name, setting in originals.load("distilhubert").files[file].items()}
        for table in yaml.safe_load((Path(os.environ["SKILL_BENCH_S3PRL"]) / file).read_text()).values():
            found |= table
    found |= {
        "sequence_length / 16000": found["sequence_length"] / 16000,
        "warmup_proportion x total_steps": round(found["warmup_proportion"] * found["total_steps"]),
        "train_batch_size, utterances": found["datarc"]["train_batch_size"],
        "pred_layer_id": [[layer] for layer in found["pred_layer_id"]],
    }
    # What our recipe has other words for.
    words = {"task_emb_type: expand-last": "expand-last", "out_layer_type": "expand-last", "loss_type": "l1"}
    assert {name: found[name.partition(":")[0]] for name in words} == words
    plain = {name: value for name, value in stated.items() if name not in words}
    assert {name: found[name] for name in plain} == plain
    assert len(plain) >= 15


def test_a_key_that_nobody_accounts_for_is_named() -> None:
    original = originals.load("dphubert")
    files = {file: {n: s for n, s in found.items() if s.key != "seed"} for file, found in original.files.items()}
    fewer = original.model_copy(update={"files": files, "ours": original.ours | {"loss.power": "none"}})
    assert undeclared(fewer, load_recipe("dphubert")) == [
        "seed: neither a setting of the original nor ours alone",
        "loss.power: ours alone, but the recipe has no such key",
    ]


def test_controls_share_all_but_the_groups_and_heads_with_the_original() -> None:
    theirs = leaves(load_recipe("dphubert"))
    for name in ("skill", "uniform_groups", "random_groups"):
        ours = leaves(load_recipe(name))
        differing = {key for key in theirs.keys() & ours.keys() if theirs[key] != ours[key]}
        assert differing == {"groups.method", "loss.heads"}, name


def test_the_page_is_made_from_the_files() -> None:
    if not PAGE.parent.is_dir():
        pytest.skip("no checkout: the page is not part of the package")
    assert PAGE.read_text(encoding="utf-8") == originals.markdown()
