"""Pre-training recipes: the bundled one, what can be changed, and messages for faults."""

from __future__ import annotations

from pathlib import Path

import pytest

from skill_bench.base.errors import SpecError, UnknownName
from skill_bench.pretraining.recipe import load_recipe, names
from skill_bench.training.loop import Schedule


def test_the_bundled_recipes_are_valid() -> None:
    assert "small" in names()
    for name in names():
        assert load_recipe(name).name == name


def test_an_iteration_may_be_changed_or_left_out(tmp_path: Path) -> None:
    recipe = load_recipe("small", changes=["iterations.first=false", "iterations.second.learning_rate=1e-4"])
    assert list(recipe.rounds) == ["second"]
    assert (recipe.rounds["second"].learning_rate, recipe.rounds["second"].n_updates) == (1e-4, 500)
    (tmp_path / "mine.toml").write_text(
        'extends = "small"\n[iterations.third]\nunits = [{ features = 6, n_units = 9 }]\nn_updates = 40\n'
        "learning_rate = 1e-3\nwarmup_updates = 10\nfinal_factor = 0.1\n"
    )
    longer = load_recipe(str(tmp_path / "mine.toml"), scale_updates=0.5)
    assert [(name, one.n_updates) for name, one in longer.rounds.items()] == [
        ("first", 550), ("second", 250), ("third", 20),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("iterations.first.unit=[]", r"unknown key 'iterations\.first\.unit'\. Did you mean 'units'\?"),
        ("iterations.first.units=[{features='plp', n_units=3}]", r"key 'iterations\.first\.units.*': .*'mfcc'"),
        ("iterations.first.units=[]", r"key 'iterations\.first\.units': .*at least 1 item"),
        ("masking.start_probability=1.5", r"key 'masking\.start_probability': .*less than or equal to 1"),
    ],
)  # fmt: skip
def test_faults_name_the_key_and_the_nearest(change: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        load_recipe("small", changes=[change])


def test_the_learning_rate_falls_to_the_share_that_a_recipe_names() -> None:
    schedule = Schedule(n_updates=10, learning_rate=1.0, warmup_updates=4, final_factor=0.4)
    found = [schedule.factor(update) for update in (0, 3, 4, 7, 10)]
    assert found == pytest.approx([1 / 4, 1.0, 1.0, 0.4 + 0.6 / 2, 0.4], rel=1e-12)  # float64


def test_a_recipe_that_learns_nothing_is_refused() -> None:
    with pytest.raises(SpecError, match=r"iterations: every one is false, so nothing is learnt"):
        load_recipe("small", changes=["iterations.first=false", "iterations.second=false"])


def test_an_unknown_recipe() -> None:
    with pytest.raises(UnknownName, match=r"unknown recipe 'smal'\. Did you mean 'small'\?"):
        load_recipe("smal")
