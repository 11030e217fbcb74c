"""Prune as you go: what stays is exactly what it was, and a killed run goes on at the size it had."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from small_models import OnUpdate, recipe, weights

from skill_bench.corpora.data import Utterance
from skill_bench.distillation.distill import distill
from skill_bench.distillation.losses import Averages, GroupDistillation
from skill_bench.distillation.objectives import JointObjective, teaching
from skill_bench.distillation.recipe import load_recipe
from skill_bench.models.checkpoint import LoadedModel
from skill_bench.models.encoder import Encoder
from skill_bench.pruning.gates import Gates
from skill_bench.report.render.curves import read_log
from skill_bench.training.engine import Engine
from skill_bench.training.loop import Log

AVERAGES = Averages(groups=((0,), (1, 2), (3, 4)))


class Step:
    """An objective and its optimiser, and updates of both."""

    def __init__(self, teacher: Encoder, *changes: str) -> None:
        torch.manual_seed(0)
        options = load_recipe("skill", changes=["sparsity.remove_after_updates=2", *changes])
        assert options.sparsity
        student = Encoder(teacher.architecture).train()
        self.objective = JointObjective(
            student,
            GroupDistillation(dim=teacher.architecture.dim, n_groups=3, options=options.loss),
            teach=teaching(teacher, AVERAGES),
            averages=AVERAGES,
            options=options.sparsity,
            teacher_size=sum(p.numel() for p in teacher.parameters()),
        ).train()
        self.optimizer = torch.optim.AdamW(self.objective.parameters(), lr=1e-3)
        self.waves = torch.randn(2, 4000)

    def update(self, number: int, *, move: bool = True) -> float:
        loss, _ = self.objective(number, self.waves, torch.Generator().manual_seed(number))
        self.optimizer.zero_grad()
        loss.backward()
        if move:
            self.optimizer.step()
        return float(loss.detach())

    def shut(self, share: float) -> None:
        """Makes the first units of every gate vector certain to be shut, and the others nearly certain to be open."""
        for gate in self.objective.gates.parameters():
            gate.data[:] = 3.0
            gate.data[: int(share * len(gate))] = -40.0

    @property
    def size(self) -> int:
        return sum(p.numel() for p in self.objective.student.parameters())

    def weight(self, name: str) -> torch.nn.Parameter:
        return self.objective.student.get_parameter(name)


def test_removal_changes_no_loss_no_gradient_and_no_later_update(teacher: LoadedModel) -> None:
    whole = Step(teacher.encoder)
    whole.shut(0.5)
    for number in range(3):
        whole.update(number)
    smaller = copy.deepcopy(whole)
    smaller.objective.teach = whole.objective.teach
    before = smaller.size
    smaller.objective.shrink(smaller.optimizer)
    assert smaller.size < 0.6 * before
    for number in range(3, 6):
        # Float sums over fewer terms, the others of which are zeros; Adam makes more of them with each update.
        assert smaller.update(number) == pytest.approx(whole.update(number), rel=1e-5)
    kept = {name: value.shape for name, value in smaller.objective.named_parameters()}
    whole_parameters = dict(whole.objective.named_parameters())
    assert kept.keys() == whole_parameters.keys()
    for name, value in smaller.objective.gates.heads.named_parameters():
        expected = whole.objective.gates.heads.get_parameter(name)
        torch.testing.assert_close(value, expected[len(expected) // 2 :], rtol=1e-4, atol=1e-5)
    first = smaller.weight("layers.0.feed_forward.up.weight")
    expected = whole.weight("layers.0.feed_forward.up.weight")
    torch.testing.assert_close(first, expected[len(expected) // 2 :], rtol=1e-3, atol=1e-5)
    evaluated = [step.objective.gates.eval().masks().layers[1].ffn for step in (smaller, whole)]
    assert evaluated[0] is not None
    assert evaluated[1] is not None
    torch.testing.assert_close(evaluated[0], evaluated[1][len(expected) // 2 :], rtol=1e-4, atol=1e-5)


def test_the_optimiser_keeps_its_moments(teacher: LoadedModel) -> None:
    step = Step(teacher.encoder)
    step.shut(0.5)
    for number in range(2):
        step.update(number)
    old = step.weight("layers.1.feed_forward.down.weight")
    moments = step.optimizer.state[old]["exp_avg"].clone()
    step.objective.shrink(step.optimizer)
    new = step.weight("layers.1.feed_forward.down.weight")
    assert new is not old
    torch.testing.assert_close(
        step.optimizer.state[new]["exp_avg"], moments[:, moments.shape[1] // 2 :], rtol=0, atol=0
    )
    assert {id(p) for group in step.optimizer.param_groups for p in group["params"]} == {
        id(p) for p in step.objective.parameters()
    }


def test_a_gate_that_opened_once_since_the_last_removal_stays(teacher: LoadedModel) -> None:
    step = Step(teacher.encoder)
    step.update(0, move=False)
    step.shut(0.5)
    step.update(1, move=False)
    before = step.size
    step.objective.shrink(step.optimizer)
    assert step.size > 0.9 * before  # feed-forward gates begin half open; nearly all others opened at update 0
    step.update(2, move=False)
    step.objective.shrink(step.optimizer)
    assert step.size < 0.6 * before


def test_no_more_is_removed_than_the_target_leaves(teacher: LoadedModel) -> None:
    step = Step(teacher.encoder, "sparsity.target=0.2")
    step.shut(0.9)
    step.update(0, move=False)
    before = step.size
    step.objective.shrink(step.optimizer)
    assert step.size == before


def test_blocks_keep_a_unit(teacher: LoadedModel) -> None:
    step = Step(teacher.encoder, "sparsity.target=0.99")
    step.shut(1.0)
    step.update(0, move=False)
    step.objective.shrink(step.optimizer)
    assert {len(layer.heads) for layer in step.objective.student.architecture.layers} == {1}
    assert {layer.ffn_dim for layer in step.objective.student.architecture.layers} == {1}


def test_off_by_default_and_then_checkpoints_know_nothing_of_it(teacher: LoadedModel) -> None:
    options = load_recipe("skill").sparsity
    assert options
    assert options.remove_after_updates is False
    names = Gates(teacher.encoder.architecture, options).state_dict().keys()
    assert {name.rpartition(".")[2] for name in names} == {"log_alpha"}
    shorter = load_recipe("skill", changes=["sparsity.remove_after_updates=4000"], scale_updates=0.01).sparsity
    assert shorter
    assert shorter.remove_after_updates == 40
    still_off = load_recipe("skill", scale_updates=0.01).sparsity
    assert still_off
    assert still_off.remove_after_updates is False


AS_YOU_GO = ("skill", "sparsity.remove_after_updates=8", "sparsity.gate_learning_rate=0.4")


def test_the_final_size_is_the_same_and_training_gets_smaller(
    teacher: LoadedModel, speech: list[Utterance], tmp_path: Path
) -> None:
    student = distill(teacher, speech, recipe=recipe(*AS_YOU_GO, joint=36), folder=tmp_path / "work")
    sizes = read_log(tmp_path / "work" / "joint.csv")["trained_parameters"].tolist()
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < 0.95 * sizes[0]
    assert float(student.metadata["sparsity"]) == pytest.approx(0.5, abs=0.04)  # as without removal


def test_a_killed_run_goes_on_bit_for_bit(teacher: LoadedModel, speech: list[Utterance], tmp_path: Path) -> None:
    short = recipe(*AS_YOU_GO, "sparsity.gate_learning_rate=0.8", joint=28, final=2)
    whole = distill(teacher, speech, recipe=short, folder=tmp_path / "whole")

    class Killed(Exception):
        pass

    def killed_at(wanted: int) -> OnUpdate:
        def progress(update: int, n_updates: int, log: Log) -> None:
            if update == wanted and "sparsity" in log:
                raise Killed

        return OnUpdate(progress)

    # Between two removals; right after a checkpoint that was written just before one.
    for update in (19, 25):
        often = Engine(device="cpu", checkpoint_every_updates=10 if update == 19 else 8).launch()
        with pytest.raises(Killed):
            distill(
                teacher, speech, recipe=short, folder=tmp_path / "parts", processes=often, progress=killed_at(update)
            )
    continued = distill(teacher, speech, recipe=short, folder=tmp_path / "parts")
    assert weights(whole).keys() == weights(continued).keys()
    assert all(torch.equal(value, weights(continued)[name]) for name, value in weights(whole).items())
    assert (tmp_path / "whole" / "joint.csv").read_text() == (tmp_path / "parts" / "joint.csv").read_text()
    sizes = read_log(tmp_path / "parts" / "joint.csv")["trained_parameters"].tolist()
    assert sizes[23] < sizes[0]  # so the continued run began with a smaller student
