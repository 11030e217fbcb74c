"""Recipes against the settings of the published programs: nothing differs that is not declared."""

from __future__ import annotations

from pathlib import Path

import pytest

from skill_bench.distillation import originals
from skill_bench.distillation.recipe import load_recipe

PAGE = Path(__file__).parents[2] / "docs" / "recipes.md"


@pytest.mark.parametrize("name", originals.names())
def test_every_difference_is_declared(name: str) -> None:
    original = originals.load(name)
    assert len(original.settings) > 20
    assert originals.undeclared(original, load_recipe(original.recipe)) == []


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
    assert originals.undeclared(originals.load(name), load_recipe(name, changes=[change])) == [said]


def test_a_key_that_nobody_accounts_for_is_named() -> None:
    original = originals.load("dphubert")
    files = {file: {n: s for n, s in found.items() if s.key != "seed"} for file, found in original.files.items()}
    fewer = original.model_copy(update={"files": files, "ours": original.ours | {"loss.power": "none"}})
    assert originals.undeclared(fewer, load_recipe("dphubert")) == [
        "seed: neither a setting of the original nor ours alone",
        "loss.power: ours alone, but the recipe has no such key",
    ]


def test_controls_share_all_but_the_groups_and_heads_with_the_original() -> None:
    theirs = originals.leaves(load_recipe("dphubert"))
    for name in ("skill", "uniform_groups", "random_groups"):
        ours = originals.leaves(load_recipe(name))
        differing = {key for key in theirs.keys() & ours.keys() if theirs[key] != ours[key]}
        assert differing == {"groups.method", "loss.heads"}, name


def test_the_page_is_made_from_the_files() -> None:
    if not PAGE.parent.is_dir():
        pytest.skip("no checkout: the page is not part of the package")
    assert PAGE.read_text(encoding="utf-8") == originals.markdown()
