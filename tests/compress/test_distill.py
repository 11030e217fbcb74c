"""The whole path on seconds of noise: it reaches the sparsity, and a killed run continues bit for bit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from skill_bench.compress.distill import Student, distill
from skill_bench.compress.engine import Engine
from skill_bench.compress.losses import GroupDistillation
from skill_bench.compress.recipe import Recipe, load_recipe, names
from skill_bench.compress.training_log import Log
from skill_bench.corpora.data import Utterance
from skill_bench.errors import SkillBenchError, UsageError
from skill_bench.models import checkpoint
from skill_bench.models.checkpoint import LoadedModel


def recipe(name: str = "skill", *changes: str, joint: int = 60, final: int = 6) -> Recipe:
    base = ["data.seconds_per_batch=1.0", "data.min_seconds=0.1", "optimizer.max_gradient_norm=10.0"]
    base += [f"final={{n_updates={final}, learning_rate=1e-3, warmup_updates=2}}"]
    if name != "distilhubert":
        base += [f"joint={{n_updates={joint}, learning_rate=1e-3, warmup_updates=3}}", "sparsity.target=0.5"]
        base += [f"sparsity.{key}" for key in ("ramp_updates=10", "gate_learning_rate=0.1")]
        base += ["sparsity.multiplier_learning_rate=0.1"]
    if name == "skill":
        base += ["groups.n_calibration_utterances=4"]
    if name in ("skill", "random_groups", "uniform_groups"):
        base += ["groups.n_groups=3"]
    return load_recipe(name, changes=[*base, *changes])


def weights(student: Student) -> dict[str, torch.Tensor]:
    return dict(student.encoder.state_dict())


def test_the_student_is_as_sparse_as_asked_and_says_what_it_is(
    teacher: LoadedModel, speech: list[Utterance], tmp_path: Path
) -> None:
    student = distill(teacher, speech, recipe=recipe(), folder=tmp_path / "work")
    before = sum(p.numel() for p in teacher.encoder.parameters())
    after = sum(p.numel() for p in student.encoder.parameters())
    assert student.metadata["n_parameters"] == str(after)
    assert float(student.metadata["sparsity"]) == pytest.approx(1 - after / before, abs=1e-6)
    assert 1 - after / before == pytest.approx(0.5, abs=0.04)  # one head of this 40 k model is three per cent
    assert student.metadata["teacher_sha256"] == teacher.sha256
    assert [layer for group in student.groups for layer in group] == [0, 1, 2, 3, 4]
    path = tmp_path / "student.safetensors"
    checkpoint.save(student.encoder, path, metadata=student.metadata)
    assert checkpoint.load(path).metadata["layer_groups"] == student.metadata["layer_groups"]


@pytest.mark.parametrize("stage", ["joint", "final"])
def test_a_killed_run_continues_bit_for_bit(
    stage: str,
    teacher: LoadedModel,
    speech: list[Utterance],
    tmp_path: Path,
) -> None:
    short = recipe(joint=6)
    whole = distill(teacher, speech, recipe=short, folder=tmp_path / "whole")

    class Killed(Exception):
        pass

    def killed(update: int, n_updates: int, log: Log) -> None:
        if n_updates == 6 and update == 4 and (stage == "joint") == ("sparsity" in log):
            raise Killed

    often = Engine(device="cpu", checkpoint_every_updates=2).launch()
    with pytest.raises(Killed):
        distill(teacher, speech, recipe=short, folder=tmp_path / "parts", processes=often, progress=killed)
    continued = distill(teacher, speech, recipe=short, folder=tmp_path / "parts")
    assert weights(whole).keys() == weights(continued).keys()
    assert all(torch.equal(value, weights(continued)[name]) for name, value in weights(whole).items())
    for log in ("joint.csv", "final.csv"):
        assert (tmp_path / "whole" / log).read_text() == (tmp_path / "parts" / log).read_text()


def test_a_loss_that_is_not_finite_names_the_batch(
    teacher: LoadedModel, speech: list[Utterance], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: GroupDistillation, *_: object) -> tuple[torch.Tensor, dict[str, float]]:
        return torch.tensor(float("nan"), requires_grad=True), {}

    monkeypatch.setattr(GroupDistillation, "forward", broken)
    with pytest.raises(SkillBenchError, match=r"joint: the loss is nan at update 0\. Batch: \d\.wav"):
        distill(teacher, speech, recipe=recipe(), folder=tmp_path / "work")


def test_layers_that_the_teacher_does_not_have_are_refused(
    teacher: LoadedModel, speech: list[Utterance], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"layers \[8, 12\] do not exist; the teacher has 0 to 4"):
        distill(teacher, speech, recipe=recipe("dphubert"), folder=tmp_path / "work")


FOUR_LAYERS = {
    "dphubert": ["groups.layers=[[0],[2],[4]]"],
    "distilhubert": ["groups.layers=[[2],[4]]", "groups.student_layers=[[1],[1]]", "student.n_layers=1"],
}


@pytest.mark.parametrize("name", names())
def test_every_recipe_gives_a_student_that_loads(
    name: str, teacher: LoadedModel, speech: list[Utterance], tmp_path: Path
) -> None:
    chosen = recipe(name, *FOUR_LAYERS.get(name, []), joint=4, final=2)
    student = distill(teacher, speech, recipe=chosen, folder=tmp_path / "work")
    checkpoint.save(student.encoder, tmp_path / "student.safetensors", metadata=student.metadata)
    loaded = checkpoint.load(tmp_path / "student.safetensors")
    assert len(loaded.encoder.layers) == (1 if name == "distilhubert" else 4)
    assert loaded.metadata["n_parameters"] == str(sum(p.numel() for p in loaded.encoder.parameters()))
    assert Recipe.model_validate_json(loaded.metadata["recipe"]) == chosen


def test_a_student_of_two_layers_starts_as_the_teachers_first_two(
    teacher: LoadedModel, speech: list[Utterance], tmp_path: Path
) -> None:
    changes = ["groups.layers=[[2],[4]]", "groups.student_layers=[[2],[2]]", "final.learning_rate=1e-12"]
    student = distill(teacher, speech, recipe=recipe("distilhubert", *changes, final=2), folder=tmp_path / "work")
    waves = torch.randn(1, 8000)
    for ours, theirs in zip(student.encoder(waves)[0], teacher.encoder(waves)[0][:3], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)  # a learning rate of 1e-12 moved nothing
