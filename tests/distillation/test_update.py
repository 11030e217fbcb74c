"""What each update of a distillation is made of: one look at the teacher, clipped gradients, three learning rates.

Options of what a target is, each alone: they reach the training, and a killed run goes on with them.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_models import recipe, weights
from torch.optim.optimizer import register_optimizer_step_pre_hook

from skill_bench.base.errors import UsageError
from skill_bench.corpora.data import Utterance
from skill_bench.distillation.distill import Student, distill
from skill_bench.distillation.run_file import RunFile
from skill_bench.models.checkpoint import LoadedModel
from skill_bench.models.encoder import Encoder
from skill_bench.records.similarity import LayerSimilarity
from skill_bench.report.render.curves import read_log
from skill_bench.training.batches import Part, SpeechBatches
from skill_bench.training.engine import Engine

OPTIONS = [
    "groups.largest=0.6",
    "groups.weights=inverse_distance",
    "groups.measure=whitened_cka",
    "loss.heads=per_layer",
    "loss.norm=layer",
    "loss.norm=instance",
]
FREE = ["groups.n_groups=2", "groups.linkage=single"]  # one layer, and the four others


@dataclass
class Steps:
    """What the optimiser was given at each step: of every group its learning rate, and the norm of all gradients."""

    rates: list[list[float]] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)

    def __call__(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        self.rates.append([group["lr"] for group in optimizer.param_groups])
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        self.norms.append(torch.cat([gradient.double().flatten() for gradient in gradients]).norm().item())


@pytest.fixture
def steps() -> Iterator[Steps]:
    found = Steps()
    handle = register_optimizer_step_pre_hook(found)
    yield found
    handle.remove()


def test_weights_gates_and_multipliers_learn_at_rates_of_their_own(
    teacher: LoadedModel, speech: list[Utterance], tmp_path: Path, steps: Steps
) -> None:
    changes = ("sparsity.gate_learning_rate=0.3", "sparsity.multiplier_learning_rate=0.07")
    distill(teacher, speech, recipe=recipe("uniform_groups", *changes, joint=6, final=3), folder=tmp_path)
    joint = [[factor * peak for peak in (1e-3, 0.3, 0.07)] for factor in (1 / 3, 2 / 3, 1, 2 / 3, 1 / 3, 0)]
    final = [[factor * 1e-3] for factor in (1 / 2, 1, 0)]
    for found, expected in zip(steps.rates, joint + final, strict=True):
        assert found == pytest.approx(expected, rel=1e-12)  # float64
    state = torch.load(tmp_path / "joint.ckpt", weights_only=True)
    groups, modules = state["optimizer"]["param_groups"], state["modules"]
    learnt = [len(modules["student"]) + len(modules["target"]), len(modules["gates"]), len(modules["lagrangian"])]
    assert [len(group["params"]) for group in groups] == learnt
    assert [group["maximize"] for group in groups] == [False, False, True]


@pytest.mark.parametrize("most", [0.01, 1e9])
def test_the_norm_of_all_gradients_is_clipped(
    most: float, teacher: LoadedModel, speech: list[Utterance], tmp_path: Path, steps: Steps
) -> None:
    clipped = recipe("uniform_groups", f"optimizer.max_gradient_norm={most}", joint=3, final=2)
    distill(teacher, speech, recipe=clipped, folder=tmp_path)
    before = [norm for stage in ("joint", "final") for norm in read_log(tmp_path / f"{stage}.csv")["gradient_norm"]]
    assert min(before) > 0.01
    assert len(before) == 5
    # torch adds 1e-6 to the norm that it divides by; float32.
    assert steps.norms == pytest.approx([min(norm, most) for norm in before], rel=1e-4)


def test_the_target_grows_from_0_and_the_multipliers_climb_what_misses_it(
    teacher: LoadedModel, speech: list[Utterance], tmp_path: Path
) -> None:
    chosen = recipe("uniform_groups", "sparsity.ramp_updates=4", joint=6, final=2)
    distill(teacher, speech, recipe=chosen, folder=tmp_path)
    log = read_log(tmp_path / "joint.csv")
    assert log["sparsity_target"].tolist() == [0.0, 0.125, 0.25, 0.375, 0.5, 0.5]
    gap = log["sparsity"] - log["sparsity_target"]
    constraint = log["lambda_linear"] * gap + log["lambda_quadratic"] * gap**2
    # Float32 sums of numbers of about 1.
    assert (log["loss"] - log["distance"]).tolist() == pytest.approx(constraint.tolist(), abs=1e-6)
    assert gap[0] > 0.01, "feed-forward gates begin shut in part"
    assert gap[4] < -0.01, "the target has overtaken the gates"
    # Adam's first step is the learning rate (up to 1e-8 / gradient): a third of 0.1 in the first of three of warm-up.
    for name in ("lambda_linear", "lambda_quadratic"):
        assert log[name][:2].tolist() == pytest.approx([0.0, 0.1 / 3], rel=1e-5)
    assert (torch.tensor(log["lambda_quadratic"].tolist()).diff() > 0).all(), "the square of the gap is never negative"
    assert log["lambda_linear"][5] < log["lambda_linear"][4]


def test_the_final_stage_goes_on_with_the_heads_of_the_joint_one(
    teacher: LoadedModel, speech: list[Utterance], tmp_path: Path
) -> None:
    chosen = recipe("uniform_groups", "final.learning_rate=1e-12", joint=4, final=2)
    distill(teacher, speech, recipe=chosen, folder=tmp_path)
    joint, final = (
        torch.load(tmp_path / f"{stage}.ckpt", weights_only=True)["modules"]["target"] for stage in ("joint", "final")
    )
    assert len(joint) == 6, "a weight and a bias for each of three groups"
    for name, value in joint.items():
        start = torch.eye(len(value)) if name.endswith("weight") else torch.zeros(len(value))
        assert (value - start).abs().max() > 1e-4, "the joint stage has moved it"
        torch.testing.assert_close(final[name], value, rtol=0, atol=1e-11)  # two steps of 1e-12 each, and rounding


@pytest.mark.parametrize("max_seconds", [None, 0.8])
def test_the_teacher_hears_every_pass_once(
    max_seconds: float | None,
    teacher: LoadedModel,
    speech: list[Utterance],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heard: dict[str, list[torch.Tensor]] = {"teacher": [], "student": []}

    def listening(walk: Any) -> Any:
        def listens(encoder: Encoder, waves: torch.Tensor, *more: Any, **named: Any) -> Any:
            heard["teacher" if encoder is teacher.encoder else "student"].append(waves)
            return walk(encoder, waves, *more, **named)

        return listens

    monkeypatch.setattr(Encoder, "walk", listening(Encoder.walk))
    chosen = recipe("uniform_groups", "data.seconds_per_batch=2.5", joint=3, final=2)
    processes = Engine(device="cpu", max_seconds_per_device=max_seconds).launch()
    distill(teacher, speech, recipe=chosen, folder=tmp_path, processes=processes)
    data = chosen.data
    batches = SpeechBatches(
        speech,
        seconds_per_batch=data.seconds_per_batch,
        min_seconds=data.min_seconds,
        max_seconds=data.max_seconds,
        seed=chosen.seed,
        length_jitter=data.length_jitter,
    ).start_at(0, Part(max_seconds=max_seconds or float("inf")))
    joint = [[batch.waves for batch in passes] for _, passes in itertools.islice(batches, 3)]
    expected = list(itertools.chain(*joint, *joint[:2]))  # each of the two stages begins with the first batch
    assert (len(expected) > 5) == (max_seconds is not None)
    for who, waves in heard.items():
        assert len(waves) == len(expected), who
        assert all(torch.equal(found, given) for found, given in zip(waves, expected, strict=True)), who


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
