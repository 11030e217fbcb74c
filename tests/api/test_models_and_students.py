"""`sb.similarity`, `sb.distill`, `sb.profile`: one small teacher through all of them; mistakes are said at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from small_models import noise, small_teacher

import skill_bench as sb
from skill_bench.base.errors import UnknownName, UsageError
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
