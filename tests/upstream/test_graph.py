"""An .onnx file as an upstream: named, told apart, and kept to the contract like any other."""

from __future__ import annotations

from pathlib import Path

import onnxruntime
import pytest
import torch
from small_encoders import small_checkpoint, small_graph

from skill_bench.base import catalog
from skill_bench.base.errors import CheckpointError
from skill_bench.models import checkpoint
from skill_bench.models.onnx_file import Precision
from skill_bench.models.size import size_of
from skill_bench.upstream.contract import CHECKS, Subject, battery
from skill_bench.upstream.encoder import EncoderUpstream
from skill_bench.upstream.graph import GraphUpstream
from skill_bench.upstream.load import load_model, load_upstream
from skill_bench.upstream.scaffold import new_upstream

LENGTHS = (400, 401, 7777, 16_000, 720)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("graphs")
    small_checkpoint(found / "small.safetensors")
    for precision in ("float32", "int8"):
        small_graph(found / f"{precision}.onnx", precision, from_file=found / "small.safetensors")
    return found


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_the_record_says_what_was_scored(precision: Precision, folder: Path) -> None:
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
