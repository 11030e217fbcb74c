"""An .onnx file as an upstream: named, told apart, and kept to the contract like any other.

A half precision is a system of its own, close to the whole one.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from small_encoders import model_in, small_checkpoint, small_graph
from small_models import noise, small_teacher
from torch import Tensor, nn

from skill_bench.base import catalog
from skill_bench.base.errors import CheckpointError, UsageError
from skill_bench.base.specs import Precision
from skill_bench.cli.run_options import plan_of
from skill_bench.evaluation.evaluate import load_request
from skill_bench.evaluation.plan import UpstreamRequest
from skill_bench.features.extract import extract
from skill_bench.models import checkpoint
from skill_bench.models.checkpoint import load
from skill_bench.models.onnx_file import Precision as GraphPrecision
from skill_bench.models.size import size_of
from skill_bench.records.record import System
from skill_bench.upstream.contract import CHECKS, Subject, battery
from skill_bench.upstream.encoder import EncoderUpstream
from skill_bench.upstream.graph import GraphUpstream
from skill_bench.upstream.interface import Upstream
from skill_bench.upstream.load import load_model, load_upstream
from skill_bench.upstream.module import ModuleUpstream
from skill_bench.upstream.scaffold import new_upstream

LENGTHS = (400, 401, 7777, 16_000, 720)
WAVES = [0.1 * torch.randn(n, generator=torch.Generator().manual_seed(n)) for n in (16000, 9000, 12000)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("graphs")
    small_checkpoint(found / "small.safetensors")
    for precision in ("float32", "int8"):
        small_graph(found / f"{precision}.onnx", precision, from_file=found / "small.safetensors")
    return found


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_the_record_says_what_was_scored(precision: GraphPrecision, folder: Path) -> None:
    path = folder / f"{precision}.onnx"
    upstream, original = load_upstream("skill", path), load_upstream("skill", folder / "small.safetensors")
    system = upstream.system()
    assert isinstance(upstream, GraphUpstream)
    assert upstream.name == system.name
    assert upstream.name.startswith("skill-")
    assert (system.title, system.kind, system.teacher, system.licence) == (
        f"Small (ONNX {precision})", "student", "teacher", "CC0",
    )  # fmt: skip
    assert system.checkpoint_sha256 == original.system().checkpoint_sha256
    assert system.n_parameters == original.system().n_parameters
    details = {name: system.details[name] for name in ("format", "family", "graph_precision", "runtime", "precision")}
    assert details == {
        "format": "onnx", "family": "wavlm", "graph_precision": precision,
        "runtime": f"onnxruntime {onnxruntime.__version__}", "precision": "bf16",
    }  # fmt: skip
    assert upstream.disk_bytes == path.stat().st_size
    assert original.disk_bytes == (folder / "small.safetensors").stat().st_size


def test_precisions_are_different_systems(folder: Path) -> None:
    found = [load_upstream("skill", folder / name) for name in ("small.safetensors", "float32.onnx", "int8.onnx")]
    assert len({upstream.identity for upstream in found}) == len({upstream.name for upstream in found}) == 3


def test_states_are_the_encoders(folder: Path) -> None:
    original = load_upstream("skill", folder / "small.safetensors")
    waves = [0.1 * torch.randn(n, generator=torch.Generator().manual_seed(n)) for n in LENGTHS]
    expected = original.hidden_states(waves)
    for name, relative in (("float32.onnx", 1e-5), ("int8.onnx", 0.05)):  # as tests/models/test_onnx_file.py has them
        found = load_upstream("skill", folder / name).hidden_states(waves)
        for ours, theirs in zip(found, expected, strict=True):
            assert ours.shape == theirs.shape
            assert ours.dtype == torch.float32
            assert float((ours - theirs).norm() / theirs.norm()) < relative


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_it_keeps_the_contract(precision: str, folder: Path) -> None:
    path = folder / f"{precision}.onnx"
    subject = Subject(upstream=load_upstream("skill", path), folder=catalog.entry("upstreams", "skill"), ckpt=path)
    found = list(battery(subject))
    assert len(found) == len(CHECKS)
    assert [finding for finding in found if finding.found is not None] == []


def test_what_stands_for_it_when_counting_has_its_shape(folder: Path) -> None:
    upstream = load_upstream("skill", folder / "int8.onnx")
    counted = upstream.written_down()
    assert isinstance(counted, EncoderUpstream)
    original = checkpoint.load(folder / "small.safetensors")
    assert counted.encoder.architecture == original.encoder.architecture
    assert size_of(counted) == size_of(original.encoder) == upstream.system().n_parameters
    (states,) = counted.hidden_states([torch.randn(1000)])
    assert states.shape == (4, 2, 32)
    assert load_upstream("skill", folder / "small.safetensors").written_down() is not None


def test_an_upstreams_folder_may_hold_one(folder: Path, tmp_path: Path) -> None:
    made = new_upstream("mine", parent=tmp_path, ckpt=folder / "int8.onnx", title="Deployed")
    assert (made / "mine.onnx").read_bytes() == (folder / "int8.onnx").read_bytes()
    upstream = load_upstream(str(made))
    assert (upstream.name, upstream.system().title) == ("mine", "Deployed")
    assert upstream.identity == load_upstream("skill", folder / "int8.onnx").identity
    assert upstream.disk_bytes == (folder / "int8.onnx").stat().st_size


def test_a_model_may_be_named_by_its_file_alone(folder: Path) -> None:
    assert load_model(str(folder / "int8.onnx")).name.startswith("int8-")


def test_an_untrained_upstream_takes_its_shape_from_a_checkpoint(folder: Path) -> None:
    with pytest.raises(CheckpointError, match="an ONNX graph can be run, not read as a checkpoint"):
        load_upstream("random", folder / "int8.onnx")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_graph_whose_weights_are_not_finite_is_refused(value: float, folder: Path, tmp_path: Path) -> None:
    model = model_in(folder / "int8.onnx")
    weight = next(one for one in model.graph.initializer if one.name.endswith("norm.bias"))
    weight.CopyFrom(onnx.numpy_helper.from_array(np.full(tuple(weight.dims), value, np.float32), weight.name))
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(CheckpointError, match=r"m\.onnx: gives values that are not finite on \d+ samples of silence"):
        load_upstream("skill", tmp_path / "m.onnx")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return small_teacher(tmp_path / "teacher.safetensors")


def encoder(path: Path) -> EncoderUpstream:
    return EncoderUpstream(loaded=load(path), system=System(name="t", title="T", identity="")).freeze()


class Frames(nn.Module):
    """One product a frame."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(400, 8)
        self.seen: list[torch.dtype] = []

    def forward(self, waves: Tensor) -> list[Tensor]:
        found = self.linear(waves.unfold(1, 400, 320))
        self.seen.append(found.dtype)
        return [found]


def module() -> ModuleUpstream:
    system = System(name="m", title="M", identity="")
    return ModuleUpstream(module=Frames(), downsample_rate=320, min_samples=400, system=system, code="").freeze()


@pytest.mark.parametrize(("precision", "tolerance"), [("bf16", 3e-2), ("fp16", 4e-3)])
def test_an_encoders_half_is_close_and_another_system(precision: Precision, tolerance: float, path: Path) -> None:
    whole, half = encoder(path), encoder(path)
    assert half.at_precision(precision) is half
    assert half.encoder.norm.weight.dtype == {"bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    assert (half.name, half.system().name, half.system().title) == (
        f"t-{precision}",
        f"t-{precision}",
        f"T, {precision}",
    )
    assert half.identity == half.system().identity != whole.identity
    assert half.system().details["computed_in"] == precision
    assert "computed_in" not in whole.system().details
    with torch.no_grad():
        pairs = list(zip(whole.hidden_states(WAVES), half.hidden_states(WAVES), strict=True))
    for a, b in pairs:  # of the largest value: bf16 keeps 8 bits of each of some dozen sums, fp16 11
        assert a.shape == b.shape
        assert 0 < float((a - b.float()).abs().max() / a.abs().max()) < tolerance
    assert len(pairs) == 3


def test_each_precision_has_its_own_identity_and_none_changes_twice(path: Path) -> None:
    found = {encoder(path).at_precision(precision).identity for precision in ("fp32", "bf16", "fp16")}
    assert len(found) == 3
    half = encoder(path).at_precision("bf16")
    assert half.at_precision("bf16").name == "t-bf16"
    for other in ("fp32", "fp16"):
        with pytest.raises(UsageError, match=f"upstream 't-bf16' computes in bf16 only. Leave --precision {other} out"):
            half.at_precision(other)


def test_the_cache_keeps_them_apart(path: Path, tmp_path: Path) -> None:
    spoken = noise(tmp_path / "audio", n=3)
    for precision in ("fp32", "bf16"):
        upstream = encoder(path).at_precision(precision)
        assert extract(upstream, spoken, pooled=True, cache_dir=tmp_path / "cache").n_extracted == 3


def test_a_module_runs_under_autocast() -> None:
    whole, half = module(), module().at_precision("bf16")
    (expected,), (found,) = whole.hidden_states(WAVES[:1]), half.hidden_states(WAVES[:1])
    assert half.module.seen[-1] == torch.bfloat16  # type: ignore[index]
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=0.05, atol=0.02)
    assert not torch.equal(found, expected)


def test_filterbanks_have_none() -> None:
    with pytest.raises(UsageError, match=r"upstream 'fbank' computes in fp32 only. Leave --precision bf16 out for it."):
        load_upstream("fbank").at_precision("bf16")


def test_a_request_says_it(path: Path) -> None:
    found: Upstream = load_request(UpstreamRequest(name="skill", precision="fp16"))
    assert found.name == "skill-fp16"
    assert load_request(UpstreamRequest(name="skill")).name == "skill"


def test_the_command_line_knows_three(tmp_path: Path) -> None:
    given = {
        "upstream": ["skill"], "ckpt": None, "suite": "demo", "tasks": "ks", "protocol": "strict", "seeds": "1",
        "limit": None, "out": tmp_path, "data_root": None, "suite_file": None, "cache_dir": tmp_path, "device": "cpu",
    }  # fmt: skip
    plan = plan_of(**given, precision="bf16", batch_seconds=30.0)  # type: ignore[arg-type]
    assert (plan.upstreams[0].precision, plan.batch_seconds) == ("bf16", 30.0)
    with pytest.raises(UsageError, match=r"--precision 'int8': expected fp32, bf16 or fp16."):
        plan_of(**given, precision="int8")  # type: ignore[arg-type]
