"""Options of what a target is, each alone: they reach the training, and a killed run goes on with them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from small_recipes import recipe, weights

from skill_bench.base.errors import UsageError
from skill_bench.corpora.data import Utterance
from skill_bench.distillation.distill import Student, distill
from skill_bench.distillation.run_file import RunFile
from skill_bench.models.checkpoint import LoadedModel
from skill_bench.records.similarity import LayerSimilarity

OPTIONS = [
    "groups.largest=0.6",
    "groups.weights=inverse_distance",
    "groups.measure=whitened_cka",
    "loss.heads=per_layer",
    "loss.norm=layer",
    "loss.norm=instance",
]
FREE = ["groups.n_groups=2", "groups.linkage=single"]  # one layer, and the four others


def short(teacher: LoadedModel, speech: list[Utterance], folder: Path, *changes: str) -> Student:
    return distill(teacher, speech, recipe=recipe("skill", *FREE, *changes, joint=4, final=2), folder=folder)


@pytest.mark.parametrize("option", [option for option in OPTIONS if "measure" not in option])
def test_each_option_alone_makes_another_student(
    option: str, teacher: LoadedModel, speech: list[Utterance], tmp_path: Path
) -> None:
    plain, changed = (
        short(teacher, speech, tmp_path / str(number), *changes) for number, changes in enumerate(([], [option]))
    )
    assert sorted(map(len, plain.groups)) == [1, 4]
    assert sorted(map(len, changed.groups)) == ([2, 3] if "largest" in option else [1, 4])
    assert any(not torch.equal(value, weights(changed).get(name, value[:0])) for name, value in weights(plain).items())


@pytest.mark.parametrize("option", OPTIONS)
def test_what_is_off_is_not_said_and_what_is_on_is(
    option: str, teacher: LoadedModel, speech: list[Utterance], tmp_path: Path
) -> None:
    student = short(teacher, speech, tmp_path, option)
    plan = RunFile.read(tmp_path / "run.json")
    assert plan.layer_groups == student.groups
    table, _, key = option.partition("=")[0].partition(".")
    said = json.loads(student.metadata["recipe"])[table][key]
    assert str(said) == option.partition("=")[2]
    similarity = LayerSimilarity.read(tmp_path / "similarity.json")
    assert similarity.measures[0].groups == student.groups
    assert similarity.largest == (0.6 if "largest" in option else False)
    if "weights" not in option:
        assert plan.layer_weights is None
        assert "layer_weights" not in student.metadata
        return
    assert plan.layer_weights is not None
    assert json.loads(student.metadata["layer_weights"]) == [list(group) for group in plan.layer_weights]
    assert [round(float(np.mean(group)), 9) for group in plan.layer_weights] == [1.0, 1.0]
    of_four = max(plan.layer_weights, key=len)
    assert max(of_four) > min(of_four)


def test_a_limit_is_of_the_layers_that_are_grouped(
    teacher: LoadedModel, speech: list[Utterance], tmp_path: Path
) -> None:
    """Two groups of half of four layers leave no room for layer 0, which is not grouped."""
    student = short(teacher, speech, tmp_path, "groups.largest=0.5", "groups.include_input=false")
    assert student.groups == ((1, 2), (3, 4))


def test_a_limit_that_is_too_small_is_said(teacher: LoadedModel, speech: list[Utterance], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"groups\.largest = 0\.2 allows 1 of 5 layers, and 2 such groups do not hold"):
        short(teacher, speech, tmp_path, "groups.largest=0.2")


def test_another_option_is_another_run(teacher: LoadedModel, speech: list[Utterance], tmp_path: Path) -> None:
    short(teacher, speech, tmp_path, "loss.norm=layer")
    with pytest.raises(UsageError, match=r"holds another run: recipe\.loss\.norm = layer there, False now"):
        short(teacher, speech, tmp_path)
