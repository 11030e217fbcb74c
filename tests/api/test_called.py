"""Modules and functions as upstreams: what they may give, and what tells one from another.

`sb.similarity`, `sb.distill`, `sb.export`, `sb.profile`: one small teacher through all; mistakes are said at once.

`sb.evaluate`: what reaches the records, what stays as it was, what is said where nothing can be measured.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from small_models import noise, small_teacher
from torch import Tensor, nn

import skill_bench as sb
from skill_bench.api.models import as_upstream, borrowed
from skill_bench.base.errors import SkillBenchError, SpecError, UnknownName, UsageError
from skill_bench.models import onnx_file
from skill_bench.records.profile import Profile
from skill_bench.records.similarity import LayerSimilarity
from skill_bench.upstream.called import upstream_of
from skill_bench.upstream.scaffold import new_upstream

HOP = 320
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


class Tiny(nn.Module):
    """Two layers of framed samples, with dropout, and a number that is no weight."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.layer, self.dropout, self.factor = nn.Linear(HOP, 8), nn.Dropout(0.5), factor

    def forward(self, wave: Tensor) -> list[Tensor]:
        first = self.dropout(self.layer(wave.unfold(1, HOP, HOP)))
        return [first, first.tanh() * self.factor]


def frames(wave: Tensor) -> Tensor:
    return wave[0].unfold(0, 400, 160)[:, :5]


FORMS: dict[str, Callable[[Tensor], Any]] = {
    "frames x dim": frames,
    "1 x frames x dim": lambda wave: frames(wave)[None],
    "array": lambda wave: frames(wave).numpy(),
    "list": lambda wave: [frames(wave)],
    "mapping": lambda wave: {"hidden_states": (frames(wave)[None],)},
    "object": lambda wave: SimpleNamespace(hidden_states=(frames(wave)[None],)),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_states(form: str) -> None:
    upstream = upstream_of(FORMS[form], name=form)
    wave = torch.randn(4000)
    (states,) = upstream.hidden_states([wave])
    torch.testing.assert_close(states, frames(wave[None])[None], rtol=0, atol=0)
    assert (upstream.downsample_rate, upstream.n_hidden_states, upstream.dim) == (160, 1, 5)


def test_a_module_is_lent() -> None:
    model = Tiny().train()
    model.layer.weight.requires_grad_(True)
    with borrowed(model):
        upstream = as_upstream(model)
        assert not model.training
        assert upstream.downsample_rate == HOP
        assert upstream.system().n_parameters == HOP * 8 + 8
        assert upstream.name == f"tiny-{upstream.identity[:8]}"
    assert model.training
    assert model.dropout.training
    assert model.layer.weight.requires_grad


def test_whatever_changes_the_states_changes_the_identity() -> None:
    first = upstream_of(Tiny()).identity
    assert upstream_of(Tiny()).identity == first
    assert upstream_of(Tiny(factor=1.0001)).identity != first, "no weight, and the same source"
    other = Tiny()
    with torch.no_grad():
        other.layer.bias[0] += 1e-3
    assert upstream_of(other).identity != first
    scale = 1.0
    assert upstream_of(lambda wave: frames(wave) * scale).identity != upstream_of(frames).identity


def test_a_function_does_not_tell_its_parameters() -> None:
    model = Tiny().eval()
    system = upstream_of(lambda wave: model(wave), name="mine").system()
    assert (system.name, system.n_parameters, system.checkpoint_sha256) == ("mine", None, None)


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (lambda wave: None, SpecError, "Model: gave NoneType"),
        (lambda wave: [wave], UsageError, "cannot be told: 1 frame of 16000 samples, 1 of 131200"),
        (lambda wave: [wave[0]], SpecError, r"gave list of a tensor \(16000,\)"),
        (lambda wave: torch.randn(1, 9, 4), UsageError, "gives other hidden states when it is called again"),
        (
            lambda wave: wave[:, :100, None],
            UsageError,
            r"cannot be told: 100 frames of 16000.*downsample_rate=",
        ),
    ],
)
def test_what_is_no_model_is_said(model: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        upstream_of(model)


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (3, {}, "int is no model"),
        (frames, {"ckpt": "a.pt"}, "ckpt= belongs to a named upstream"),
        ("fbank", {"name": "x"}, "name= and downsample_rate= belong to modules"),
    ],
)
def test_options_that_do_not_fit_are_said(model: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        as_upstream(model, **options)


def test_a_wave_that_is_too_short_has_no_frame() -> None:
    upstream = upstream_of(frames)
    assert upstream.hidden_states([torch.zeros(399)])[0].shape == (1, 0, 5)
    assert np.prod(upstream.hidden_states([torch.zeros(400)])[0].shape) == 5


def test_a_teacher_becomes_a_student_that_can_be_measured(tmp_path: Path) -> None:
    speech = tmp_path / "speech"
    speech.mkdir()
    noise(speech)
    teacher = small_teacher(tmp_path / "teacher.safetensors")
    found = sb.similarity(teacher, speech, measures=["cosine"], n_groups=3, n_utterances=4)
    assert [one.measure for one in found.measures] == ["cosine"]
    assert len(found.measures[0].groups) == 3
    assert LayerSimilarity.read(found.write(tmp_path / "similarity.json")) == found
    parent = new_upstream("mine", parent=tmp_path, ckpt=teacher)
    student = sb.distill(parent, speech, out=tmp_path / "student.safetensors", changes=FEW, device="cpu")
    assert student.path.is_file()
    assert (tmp_path / "student.work" / "joint.csv").is_file()
    assert all(curve.is_file() for curve in student.curves)
    graph = sb.export(
        student.path, tmp_path / "m.onnx", format="onnx", quantise="int8-static", calibrate=[speech], licence="MIT",
        datasets=["a/b", "c"],
    )  # fmt: skip
    assert graph.paths == [tmp_path / "m.onnx"]
    assert "largest difference on held-out speech" in graph.notes[-1]
    stated = onnx_file.read(tmp_path / "m.onnx").stated
    assert (stated.precision, stated.checkpoint["licence"], stated.checkpoint["datasets"]) == (
        "int8-static", "MIT", "a/b, c",
    )  # fmt: skip
    costs = sb.profile(student.path, timed=False)
    assert costs.parameters is not None
    assert costs.parameters.total == int(student.metadata["n_parameters"])
    assert (costs.throughput, costs.system.name.split("-")[0]) == (None, "student")
    assert (costs.system.kind, costs.system.teacher) == ("student", "mine")


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
        ("export", {"format": "onxx"}, UnknownName, "unknown format 'onxx'. Did you mean 'onnx'"),
        ("export", {"languages": ["English"]}, UsageError, "--language English: expected a code of ISO 639-1"),
    ],
)
def test_mistakes_are_said_before_anything_is_read(
    name: str, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        getattr(sb, name)("not there", "not there", **options)


def loudness(wave: Tensor) -> Tensor:
    return wave[0].unfold(0, 400, 320)[:, ::40].abs().log1p()


@pytest.fixture
def options(tmp_path: Path, with_demo: Callable[[Path], Path]) -> dict[str, Any]:
    return {"tasks": ["ks"], "limit": 8, "out": tmp_path / "out", "cache_dir": with_demo(tmp_path / "cache")}


def test_a_function_gets_a_record_and_no_costs(options: dict[str, Any], tmp_path: Path) -> None:
    results = sb.evaluate(loudness, name="mine", seeds=2, **options)
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
    for one in (["kss"], "kss"):
        with pytest.raises(UnknownName, match=r"unknown task 'kss'"):
            sb.evaluate("fbank", **{**options, "tasks": one})
    with pytest.raises(UsageError, match="--suite local needs --data-root"):
        sb.evaluate("fbank", suite="local", **options)

    def broken(wave: Tensor) -> Tensor:
        if len(wave[0]) not in (16000, 8000, 131200):
            raise ValueError("no")
        return loudness(wave)

    with pytest.raises(SkillBenchError, match=r"no cell has a result:\n  broken-.*, ks, seed 0: ValueError: no"):
        sb.evaluate(broken, **options)
