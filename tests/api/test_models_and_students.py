"""`sb.similarity`, `sb.distill`, `sb.profile`: one small teacher through all of them; mistakes are said at once.

`sb.evaluate`: what reaches the records, what stays as it was, what is said where nothing can be measured.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from small_models import noise, small_teacher
from torch import Tensor, nn

import skill_bench as sb
from skill_bench.base.errors import SkillBenchError, UnknownName, UsageError
from skill_bench.records.profile import Profile
from skill_bench.records.similarity import LayerSimilarity

FEW = [
    "data.seconds_per_batch=1.0",
    "data.min_seconds=0.1",
    "joint={n_updates=4, learning_rate=1e-3, warmup_updates=1}",
    "final={n_updates=2, learning_rate=1e-3, warmup_updates=1}",
    "sparsity.ramp_updates=2",
    "sparsity.target=0.3",
    "sparsity.tolerance=false",
    "groups.n_calibration_utterances=4",
    "groups.n_groups=3",
]


def test_a_teacher_becomes_a_student_that_can_be_measured(tmp_path: Path) -> None:
    speech = tmp_path / "speech"
    speech.mkdir()
    noise(speech)
    teacher = small_teacher(tmp_path / "teacher.safetensors")
    found = sb.similarity(teacher, speech, measures=["cosine"], n_groups=3, n_utterances=4)
    assert [one.measure for one in found.measures] == ["cosine"]
    assert len(found.measures[0].groups) == 3
    assert LayerSimilarity.read(found.write(tmp_path / "similarity.json")) == found
    student = sb.distill(teacher, speech, out=tmp_path / "student.safetensors", changes=FEW, device="cpu")
    assert student.path.is_file()
    assert (tmp_path / "student.work" / "joint.csv").is_file()
    assert all(curve.is_file() for curve in student.curves)
    costs = sb.profile(student.path, timed=False)
    assert costs.parameters is not None
    assert costs.parameters.total == int(student.metadata["n_parameters"])
    assert (costs.throughput, costs.system.name.split("-")[0]) == (None, "student")


def test_a_named_upstream_is_profiled_as_the_command_does() -> None:
    found = sb.profile("fbank", timed=False)
    assert isinstance(found, Profile)
    assert found.system.name == "fbank"


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("similarity", {"measures": ["ckaa"]}, UnknownName, "unknown measure 'ckaa'. Did you mean 'cka'"),
        ("similarity", {"measures": []}, UsageError, "no measure of similarity: expected one or more of cka, cosine"),
        ("similarity", {"linkage": "wart"}, UnknownName, "unknown linkage 'wart'. Did you mean 'ward'"),
        ("distill", {"out": "student.pt"}, UsageError, "out='student.pt': expected a name ending in .safetensors"),
        ("distill", {"out": "s.safetensors", "recipe": "skil"}, UnknownName, "Did you mean 'skill'"),
    ],
)
def test_mistakes_are_said_before_anything_is_read(
    name: str, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        getattr(sb, name)("not there", "not there", **options)


def frames(wave: Tensor) -> Tensor:
    return wave[0].unfold(0, 400, 320)[:, ::40].abs().log1p()


@pytest.fixture
def options(tmp_path: Path, with_demo: Callable[[Path], Path]) -> dict[str, Any]:
    return {"tasks": ["ks"], "limit": 8, "out": tmp_path / "out", "cache_dir": with_demo(tmp_path / "cache")}


def test_a_function_gets_a_record_and_no_costs(options: dict[str, Any], tmp_path: Path) -> None:
    results = sb.evaluate(frames, name="mine", seeds=2, **options)
    assert repr(results) == "<Results: 2 records of mine>"
    assert results.frame["seed"].tolist() == [0, 1]
    assert results.failures == ()
    assert set(results.predictions) == {"ks"}
    assert len(results.predictions["ks"]) == 2 * 8
    assert results.predictions["ks"].columns[:3].tolist() == ["system", "seed", "id"]
    assert not list(tmp_path.glob("out/**/profile.json"))
    again = sb.load_results(options["out"])
    assert again.frame["value"].tolist() == results.frame["value"].tolist()
    table = results.table
    assert table[table["origin"] == "run"]["parameters_millions"].isna().all()
    assert table[table["origin"] == "run"]["ks_accuracy_percent_n_seeds"].tolist() == [2]


def test_a_module_has_costs_and_is_left_as_it_was(options: dict[str, Any]) -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(400, 4)

        def forward(self, wave: Tensor) -> list[Tensor]:
            return [torch.tanh(self.layer(wave.unfold(1, 400, 320)))]

    model = Model().train()
    results = sb.evaluate(model, **options)
    assert results.table.query("origin == 'run'")["parameters_millions"].tolist() == [1604 / 1e6]
    assert model.training
    assert all(one.requires_grad for one in model.parameters())


def test_what_cannot_be_carried_out_is_said(options: dict[str, Any]) -> None:
    with pytest.raises(UnknownName, match=r"unknown upstream 'skil'\. Did you mean 'skill'"):
        sb.evaluate("skil", **options)
    with pytest.raises(UnknownName, match=r"unknown task 'kss'"):
        sb.evaluate("fbank", **{**options, "tasks": ["kss"]})
    with pytest.raises(UsageError, match="--suite local needs --data-root"):
        sb.evaluate("fbank", suite="local", **options)

    def broken(wave: Tensor) -> Tensor:
        if len(wave[0]) not in (16000, 8000, 131200):
            raise ValueError("no")
        return frames(wave)

    with pytest.raises(SkillBenchError, match=r"no cell has a result:\n  broken-.*, ks, seed 0: ValueError: no"):
        sb.evaluate(broken, **options)
