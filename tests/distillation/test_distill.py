"""The whole path on seconds of noise: it reaches the sparsity, and a killed run continues bit for bit."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from small_models import OnUpdate, recipe, weights

from skill_bench.base.documents import read_object
from skill_bench.base.errors import CheckpointError, DataError, SkillBenchError, UsageError
from skill_bench.base.locks import Lock
from skill_bench.base.progress import Silent
from skill_bench.corpora.data import Utterance
from skill_bench.corpora.listing import speech_fingerprint
from skill_bench.distillation.distill import distill
from skill_bench.distillation.losses import Averages, GroupDistillation
from skill_bench.distillation.objectives import teaching
from skill_bench.distillation.recipe import Recipe, names
from skill_bench.distillation.run_file import RunFile
from skill_bench.models import checkpoint
from skill_bench.models.checkpoint import LoadedModel
from skill_bench.models.layer import Layer
from skill_bench.records.similarity import CARRIED, LayerSimilarity
from skill_bench.report.render.curves import read_log
from skill_bench.training.engine import Engine
from skill_bench.training.loop import Log


class EarlierRunFile(RunFile):
    """As it was written when it held the matrix."""

    similarity: tuple[tuple[float, ...], ...] | None


def test_the_student_is_as_sparse_as_asked_and_says_what_it_is(
    teacher: LoadedModel, speech: list[Utterance], tmp_path: Path
) -> None:
    student = distill(teacher, speech, recipe=recipe(joint=30), folder=tmp_path / "work")
    before = sum(p.numel() for p in teacher.encoder.parameters())
    after = sum(p.numel() for p in student.encoder.parameters())
    assert student.metadata["n_parameters"] == str(after)
    assert float(student.metadata["sparsity"]) == pytest.approx(1 - after / before, abs=1e-6)
    assert 1 - after / before == pytest.approx(0.5, abs=0.04)  # one head of this 40 k model is three per cent
    assert student.metadata["teacher_sha256"] == teacher.sha256
    assert student.metadata["data_fingerprint"] == speech_fingerprint(speech)
    found = LayerSimilarity.read(tmp_path / "work" / "similarity.json")
    assert student.similarity == found
    assert len(found.measures[0].tree) == 4
    assert [layer for group in student.groups for layer in group] == [0, 1, 2, 3, 4]
    path = tmp_path / "student.safetensors"
    checkpoint.save(student.encoder, path, metadata=student.metadata)
    said = checkpoint.load(path).metadata
    assert said["layer_groups"] == student.metadata["layer_groups"]
    assert LayerSimilarity.parse(json.loads(said[CARRIED]), source="student") == found
    assert "similarity" not in said
    assert "similarity" not in read_object(tmp_path / "work" / "run.json")


@pytest.mark.parametrize("with_document", [True, False])
def test_a_work_folder_of_an_earlier_version_goes_on(
    teacher: LoadedModel, speech: list[Utterance], tmp_path: Path, with_document: bool
) -> None:
    first = distill(teacher, speech, recipe=recipe(joint=4, final=2), folder=tmp_path)
    assert first.similarity is not None
    (tmp_path / "final.ckpt").unlink()
    matrix = {"similarity": first.similarity.measures[0].matrix}
    EarlierRunFile(**dict(RunFile.read(tmp_path / "run.json")) | matrix).write(tmp_path / "run.json")
    assert len(read_object(tmp_path / "run.json")["similarity"]) == 5
    if not with_document:
        (tmp_path / "similarity.json").unlink()
    again = distill(teacher, speech, recipe=recipe(joint=4, final=2), folder=tmp_path)
    assert again.similarity is not None
    if with_document:
        assert again.similarity == first.similarity, "what is there is not measured again"
    assert again.similarity.measures == first.similarity.measures
    assert LayerSimilarity.read(tmp_path / "similarity.json") == again.similarity


def test_a_target_that_the_gates_cannot_reach_is_refused_at_once(
    teacher: LoadedModel, speech: list[Utterance], tmp_path: Path
) -> None:
    heads = [f"sparsity.{kind}_drop_rate=false" for kind in ("channel", "ffn")]
    with pytest.raises(UsageError, match=r"sparsity\.target = 0\.75 cannot be reached: .* 0\.\d{3} of the teacher's"):
        distill(teacher, speech, recipe=recipe("skill", *heads, "sparsity.target=0.75"), folder=tmp_path / "work")
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["sparsity.gate_learning_rate=1e-9"], r"the gates had learnt a sparsity of 0\.\d+ where 0\.5 is the target"),
        (
            [f"sparsity.{kind}_drop_rate=false" for kind in ("channel", "head", "ffn")]
            + ["sparsity.attention_block_drop_rate=0.01", "sparsity.ffn_block_drop_rate=0.01"],
            r"the student's sparsity is 0\.\d+ where 0\.5 is the target: what was gated is too coarse",
        ),
    ],
)
def test_a_target_that_was_missed_is_told(
    changes: list[str], said: str, teacher: LoadedModel, speech: list[Utterance], tmp_path: Path
) -> None:
    told = Told()
    student = distill(
        teacher, speech, recipe=recipe("skill", *changes, joint=12), folder=tmp_path / "work", progress=told
    )
    assert [note for note in told.notes if re.match(said, note)], told.notes
    assert abs(float(student.metadata["learnt_sparsity"]) - 0.5) > 0.1


def test_a_joint_stage_that_ends_far_from_its_target_is_refused_and_goes_on_with_more_updates(
    teacher: LoadedModel, speech: list[Utterance], tmp_path: Path
) -> None:
    strict = ("sparsity.tolerance=0.01", "sparsity.ramp_updates=2")
    short = recipe("uniform_groups", *strict, joint=4, final=2)
    with pytest.raises(
        SkillBenchError,
        match=r"ended at a sparsity of 0\.\d{4} where sparsity\.target = 0\.5, farther than sparsity\.tolerance = "
        r"0\.01\. Its checkpoint stays in .*: the same command with more updates \(--set joint\.n_updates=8\) goes on",
    ):
        distill(teacher, speech, recipe=short, folder=tmp_path)
    assert not (tmp_path / "final.ckpt").exists()
    with pytest.raises(UsageError, match=r"recipe\.joint\.n_updates = 4 there, 3 now"):
        distill(teacher, speech, recipe=recipe("uniform_groups", *strict, joint=3, final=2), folder=tmp_path)
    longer = recipe("uniform_groups", *strict, joint=40, final=2)
    student = distill(teacher, speech, recipe=longer, folder=tmp_path)
    assert len(read_log(tmp_path / "joint.csv")["loss"]) == 40
    assert abs(float(student.metadata["learnt_sparsity"]) - 0.5) <= 0.01
    assert RunFile.read(tmp_path / "run.json").recipe == longer
    with pytest.raises(UsageError, match=r"recipe\.joint\.n_updates = 40 there, 50 now"):
        distill(teacher, speech, recipe=recipe("uniform_groups", *strict, joint=50, final=2), folder=tmp_path)


@pytest.mark.parametrize("hold", [True, False])
def test_gates_are_held_at_the_target_once_the_ramp_has_ended(
    hold: bool, teacher: LoadedModel, speech: list[Utterance], tmp_path: Path
) -> None:
    changes = [f"sparsity.hold={str(hold).lower()}", "sparsity.ramp_updates=6", "sparsity.gate_learning_rate=0.4"]
    distill(teacher, speech, recipe=recipe("uniform_groups", *changes, joint=24, final=2), folder=tmp_path)
    log = read_log(tmp_path / "joint.csv")
    gap = log["sparsity"] - log["sparsity_target"]
    assert (abs(gap[-5:]) < 1e-3).all() == hold
    assert abs(gap[6]) > 0.05, "the gates come to the target by a bounded step an update"


class Told(Silent):
    """Remembers notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_two_trainings_do_not_share_a_folder(teacher: LoadedModel, speech: list[Utterance], tmp_path: Path) -> None:
    other = Lock(tmp_path / "work" / ".lock")
    assert other.take()
    with pytest.raises(UsageError, match=r"work: another process trains there\. Wait for it or stop it"):
        distill(teacher, speech, recipe=recipe(joint=4), folder=tmp_path / "work")
    other.release()
    distill(teacher, speech, recipe=recipe(joint=4), folder=tmp_path / "work")


def test_speech_that_is_too_short_is_counted_before_anything_is_written(
    teacher: LoadedModel, speech: list[Utterance], tmp_path: Path
) -> None:
    told, shortest = Told(), sorted(u.seconds or 0.0 for u in speech)[1]
    limit = f"data.min_seconds={shortest + 1e-3}"
    distill(teacher, speech, recipe=recipe("skill", limit, joint=4), folder=tmp_path / "work", progress=told)
    assert any(re.match(r"6 of 8 utterances take part, 0\.\d\d h; 2 are shorter", note) for note in told.notes)
    with pytest.raises(DataError, match=r"none of 8 utterances lasts 99\.0 s or more.*--set data\.min_seconds="):
        distill(teacher, speech, recipe=recipe("skill", "data.min_seconds=99"), folder=tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("n_bytes", [0, 1000])
def test_a_damaged_checkpoint_is_named(
    n_bytes: int, teacher: LoadedModel, speech: list[Utterance], tmp_path: Path
) -> None:
    distill(teacher, speech, recipe=recipe(joint=4), folder=tmp_path / "work")
    (path,) = (tmp_path / "work").glob("final.ckpt")
    path.write_bytes(path.read_bytes()[:n_bytes])
    with pytest.raises(CheckpointError, match=r"final\.ckpt: cannot be read .*delete it to train this stage again"):
        distill(teacher, speech, recipe=recipe(joint=4), folder=tmp_path / "work")


def test_what_a_kill_left_half_written_is_removed(
    teacher: LoadedModel, speech: list[Utterance], tmp_path: Path
) -> None:
    left = tmp_path / "work" / ".final.ckpt.abc.tmp"
    left.parent.mkdir()
    left.write_bytes(b"half")
    distill(teacher, speech, recipe=recipe(joint=4), folder=tmp_path / "work")
    assert not left.exists()


def test_fp16_that_skips_every_update_stops(
    teacher: LoadedModel, speech: list[Utterance], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a scaler would, the optimiser leaves out what is not finite; no GPU is needed to see who stops it."""
    forward = GroupDistillation.forward

    def broken(self: GroupDistillation, *given: Any) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        loss, log = forward(self, *given)
        return loss + (given[0][0].sum() * 0).sqrt(), log

    monkeypatch.setattr(GroupDistillation, "forward", broken)
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda self, closure=None: closure and closure())
    monkeypatch.setattr("skill_bench.training.loop.MOST_SKIPPED", 3)
    processes = Engine(device="cpu").launch()
    object.__setattr__(processes.engine, "precision", "fp16")
    with pytest.raises(SkillBenchError, match=r"joint: gradients of 4 updates in a row are not finite at update 3\. "):
        distill(teacher, speech, recipe=recipe(), folder=tmp_path / "work", processes=processes)


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
        distill(teacher, speech, recipe=short, folder=tmp_path / "parts", processes=often, progress=OnUpdate(killed))
    continued = distill(teacher, speech, recipe=short, folder=tmp_path / "parts")
    assert weights(whole).keys() == weights(continued).keys()
    assert all(torch.equal(value, weights(continued)[name]) for name, value in weights(whole).items())
    for log in ("joint.csv", "final.csv"):
        assert (tmp_path / "whole" / log).read_text() == (tmp_path / "parts" / log).read_text()
    assert float(continued.metadata["compression_hours"]) > 0
    assert continued.metadata["compressed_on"].startswith("1 x ")


def test_hours_that_nobody_counted_are_not_guessed(
    teacher: LoadedModel, speech: list[Utterance], tmp_path: Path
) -> None:
    distill(teacher, speech, recipe=recipe(joint=4, final=2), folder=tmp_path)
    state = torch.load(tmp_path / "joint.ckpt", weights_only=True)
    del state["seconds"]
    torch.save(state, tmp_path / "joint.ckpt")
    again = distill(teacher, speech, recipe=recipe(joint=4, final=2), folder=tmp_path)
    assert "compression_hours" not in again.metadata


def test_a_loss_that_is_not_finite_names_the_batch(
    teacher: LoadedModel, speech: list[Utterance], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: GroupDistillation, *_: object) -> tuple[torch.Tensor, dict[str, float]]:
        return torch.tensor(float("nan"), requires_grad=True), {}

    monkeypatch.setattr(GroupDistillation, "forward", broken)
    with pytest.raises(SkillBenchError, match=r"joint: the loss is nan at update 0\. Batch: \d\.wav"):
        distill(teacher, speech, recipe=recipe(), folder=tmp_path / "work")


def test_gradients_that_are_not_finite_stop_before_they_do_harm(
    teacher: LoadedModel, speech: list[Utterance], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = GroupDistillation.forward
    calls = iter(range(99))

    def broken(self: GroupDistillation, *given: Any) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        loss, log = forward(self, *given)
        if next(calls) == 3:
            loss = loss + (given[0][0].sum() * 0).sqrt()  # 0, but the root's slope there is infinite
        return loss, log

    monkeypatch.setattr(GroupDistillation, "forward", broken)
    often = Engine(device="cpu", checkpoint_every_updates=1).launch()
    with pytest.raises(
        SkillBenchError, match=r"joint: the gradients' norm is \w+ at update 3\. Batch: .*\.wav.*joint\.ckpt"
    ):
        distill(teacher, speech, recipe=recipe(), folder=tmp_path / "work", processes=often)
    kept = torch.load(tmp_path / "work" / "joint.ckpt", weights_only=True)
    assert kept["updates_done"] == 3
    assert all(value.isfinite().all() for value in kept["modules"]["student"].values())


def test_a_folder_with_another_run_is_not_continued(
    teacher: LoadedModel, speech: list[Utterance], tmp_path: Path
) -> None:
    folder = tmp_path / "work"
    distill(teacher, speech, recipe=recipe(joint=3, final=2), folder=folder)
    other = recipe("skill", "seed=7", joint=3, final=2)
    with pytest.raises(
        UsageError, match=r"holds another run: recipe\.seed = 0 there, 7 now\. Choose another --work-dir"
    ):
        distill(teacher, speech, recipe=other, folder=folder)
    with pytest.raises(UsageError, match=r"other utterances"):
        distill(teacher, speech[:-1], recipe=recipe(joint=3, final=2), folder=folder)


def test_half_precision_learns_about_the_same(teacher: LoadedModel, speech: list[Utterance], tmp_path: Path) -> None:
    losses = {}
    for precision in ("fp32", "bf16"):
        processes = Engine(device="cpu", precision=precision, tensorboard=True).launch()
        folder = tmp_path / precision
        distill(teacher, speech, recipe=recipe(joint=3, final=2), folder=folder, processes=processes)
        losses[precision] = read_log(folder / "joint.csv")["loss"].tolist()
        assert list((folder / "tensorboard" / "joint").glob("events.*"))
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=0.03)  # bfloat16 has 8 bits
    assert losses["bf16"] != losses["fp32"]


NO_DROPOUT = [f"student.{place}dropout=0.0" for place in ("", "projection_", "attention_")]


def test_passes_that_fit_the_device_change_nothing(
    teacher: LoadedModel, speech: list[Utterance], tmp_path: Path
) -> None:
    students = []
    for limit in (None, 0.8):
        processes = Engine(device="cpu", max_seconds_per_device=limit).launch()
        chosen = recipe("skill", "data.seconds_per_batch=2.5", *NO_DROPOUT, joint=3, final=2)
        students.append(distill(teacher, speech, recipe=chosen, folder=tmp_path / str(limit), processes=processes))
    for name, value in weights(students[0]).items():
        torch.testing.assert_close(weights(students[1])[name], value, rtol=1e-3, atol=1e-4)  # Adam amplifies rounding


def test_the_teacher_stops_after_the_last_layer_that_is_needed(
    teacher: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    waves = torch.randn(1, 8000)
    ran: list[torch.nn.Module] = []
    whole = Layer.forward

    def layer(module: Layer, *given: Any) -> torch.Tensor:
        ran.append(module)
        return whole(module, *given)

    monkeypatch.setattr(Layer, "forward", layer)
    averages = teaching(teacher.encoder, Averages(groups=((0,), (1, 3))))(waves)
    assert ran == list(teacher.encoder.layers[:3])
    states, _ = teacher.encoder(waves)
    torch.testing.assert_close(averages[1], (states[1] + states[3]) / 2, rtol=1e-6, atol=1e-6)


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
    changes += ["student.projection_norm=true"]
    student = distill(teacher, speech, recipe=recipe("distilhubert", *changes, final=2), folder=tmp_path / "work")
    waves = torch.randn(1, 8000)
    for ours, theirs in zip(student.encoder(waves)[0], teacher.encoder(waves)[0][:3], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)  # a learning rate of 1e-12 moved nothing
