"""The whole path on seconds of noise: it reaches the sparsity, and a killed run continues bit for bit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from skill_bench.compress import loop
from skill_bench.compress.distill import Student, distill
from skill_bench.compress.losses import GroupDistillation
from skill_bench.compress.recipe import RECIPES, Recipe
from skill_bench.corpora.data import Utterance
from skill_bench.errors import SkillBenchError, UsageError
from skill_bench.models import checkpoint
from skill_bench.models.checkpoint import LoadedModel


def recipe(name: str = "skill", *, joint: int = 60, final: int = 6, **changes: object) -> Recipe:
    return RECIPES[name](
        **{
            "clustering": {"n_groups": 3, "n_calibration_utterances": 4},
            "joint": {"n_updates": joint, "learning_rate": 1e-3, "warmup_updates": 3},
            "final": {"n_updates": final, "learning_rate": 1e-3, "warmup_updates": 2},
            "sparsity": {"target": 0.5, "ramp_updates": 10, "learning_rate": 0.1},
            "seconds_per_batch": 1.0,
            "min_seconds": 0.1,
            **changes,
        }
    )


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
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    short = recipe(joint=6)
    whole = distill(teacher, speech, recipe=short, folder=tmp_path / "whole")

    class Killed(Exception):
        pass

    def killed(update: int, n_updates: int, log: loop.Log) -> None:
        if n_updates == 6 and update == 4 and (stage == "joint") == ("sparsity" in log):
            raise Killed

    monkeypatch.setattr(loop, "CHECKPOINT_EVERY", 2)
    with pytest.raises(Killed):
        distill(teacher, speech, recipe=short, folder=tmp_path / "parts", progress=killed)
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
