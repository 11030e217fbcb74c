"""An .onnx file of ours: what it says of itself, how exact it is, and what is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper
from small_encoders import METADATA, PRUNED, awake, model_in, properties, small_checkpoint, small_graph

from skill_bench.base.errors import CheckpointError, SkillBenchError, UnknownFormat, UsageError
from skill_bench.models import checkpoint, onnx_file
from skill_bench.models.encoder import Encoder
from skill_bench.models.export import onnx_file as writer
from skill_bench.models.export.onnx import INPUT, OPSET, Graph, build, to_onnx
from skill_bench.models.export.quantise import linear_layers, quantise
from skill_bench.models.factories import architecture
from skill_bench.models.onnx_file import Precision
from skill_bench.models.size import size_of
from skill_bench.upstream.graph import from_file

PRECISIONS: tuple[Precision, ...] = ("float32", "int8", "int8-static")
WORST_RELATIVE = {"float32": 1e-5, "int8": 0.05, "int8-static": 0.5}
"""Of a hidden state. 8 bits lose about a hundredth a layer; ranges learnt from three short noises fit others badly."""


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> dict[Precision, Path]:
    folder = tmp_path_factory.mktemp("graphs")
    return {precision: small_graph(folder / f"{precision}.onnx", precision) for precision in PRECISIONS}


@pytest.fixture
def graph(graphs: dict[Precision, Path], tmp_path: Path) -> Path:
    path = tmp_path / "mine.onnx"
    path.write_bytes(graphs["float32"].read_bytes())
    return path


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_file_says_what_it_is(precision: Precision, graphs: dict[Precision, Path]) -> None:
    found = onnx_file.read(graphs[precision])
    loaded = checkpoint.load(graphs[precision].with_suffix(".safetensors"))
    assert found.architecture == PRUNED
    assert found.opset == OPSET
    assert found.stated.precision == precision
    assert found.stated.checkpoint_sha256 == loaded.sha256
    assert found.stated.checkpoint == METADATA
    assert found.stated.parity_on == ("held-out speech" if precision == "int8-static" else "noise")
    assert set(found.stated.parity) == {"float32", precision}
    for name, report in found.stated.parity.items():
        assert [one.n_samples for one in report] == [400, 16_000, 59_121, 160_000]
        assert 0 < max(one.relative for one in report) < WORST_RELATIVE[name]
        assert all(one.largest > 0 for one in report)
    said = properties(model_in(graphs[precision]))
    plain = {
        "title": "Small", "teacher": "teacher", "licence": "CC0", "family": "wavlm", "precision": precision,
        "n_parameters": str(size_of(loaded.encoder)), "sample_rate_hz": "16000", "shortest_samples": "400",
        "samples_per_frame": "320", "n_hidden_states": "4", "dim": "32", "checkpoint_sha256": loaded.sha256,
    }  # fmt: skip
    assert {name: said[name] for name in plain} == plain


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_parity_report_is_what_a_caller_finds(precision: Precision, graphs: dict[Precision, Path]) -> None:
    """By onnxruntime's defaults, and against the modules once more."""
    session = onnxruntime.InferenceSession(graphs[precision], providers=["CPUExecutionProvider"])
    wave = 0.1 * torch.randn(1, 160_000, generator=torch.Generator().manual_seed(0))
    if precision == "int8-static":
        held_out = 0.1 * torch.randn(8000, generator=torch.Generator().manual_seed(0))
        wave = held_out.repeat(20)[None]
    states = session.run(None, {INPUT: wave.numpy()})
    with torch.no_grad():
        expected = checkpoint.load(graphs[precision].with_suffix(".safetensors")).encoder(wave)[0]
    assert len(states) == 4
    largest = max(float(np.abs(ours - theirs.numpy()).max()) for ours, theirs in zip(states, expected, strict=True))
    reported = onnx_file.read(graphs[precision]).stated.parity[precision][-1].largest
    assert largest == pytest.approx(reported, rel=0.3 if precision == "float32" else 0.05)


def test_quantised_weights_are_those_of_linear_layers_alone(graphs: dict[Precision, Path]) -> None:
    before = model_in(graphs["float32"])
    # projection; query, key, value, out of two attention blocks; up and down of two feed-forward blocks
    assert len(linear_layers(before)) == 1 + 4 * 2 + 2 * 2
    kinds = {precision: [node.op_type for node in model_in(graphs[precision]).graph.node] for precision in PRECISIONS}
    assert kinds["int8"].count("MatMulInteger") == 13
    assert {"MatMulInteger", "DynamicQuantizeLinear"}.isdisjoint(kinds["int8-static"])
    int8 = [one for one in model_in(graphs["int8-static"]).graph.initializer if one.data_type == TensorProto.INT8]
    assert sum(len(one.dims) == 2 for one in int8) == 13
    for precision in PRECISIONS:
        assert kinds[precision].count("Conv") == kinds["float32"].count("Conv") == 8
        assert {one.domain for one in model_in(graphs[precision]).opset_import} <= {"", "ai.onnx"}


def test_static_ranges_need_speech() -> None:
    with pytest.raises(UsageError, match="int8-static has no speech to learn ranges from"):
        quantise(build(Encoder(PRUNED)), "int8-static", speech=[])


def test_the_report_hears_other_speech_than_ranges_were_learnt_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a single utterance there is no other; the file says so."""
    loaded = checkpoint.load(small_checkpoint(tmp_path / "small.safetensors"))
    seen: list[int] = []

    def learn(graph: Graph, precision: Precision, *, speech: writer.Waves) -> onnx.ModelProto:
        seen.append(len(speech))
        return quantise(graph, precision, speech=speech)

    monkeypatch.setattr(writer, "quantise", learn)
    speech = [0.1 * torch.randn(4000, generator=torch.Generator().manual_seed(n)) for n in range(6)]
    reports = {}
    for n, on in ((1, "calibration speech"), (2, "held-out speech"), (6, "held-out speech")):
        path = tmp_path / f"{n}.onnx"
        stated = writer.write(loaded, path, metadata={}, precision="int8-static", speech=speech[:n])
        assert stated.parity_on == onnx_file.read(path).stated.parity_on == on
        assert f"int8-static graph and torch, largest difference on {on}: " in writer.report(stated)
        reports[n] = stated.parity["int8-static"]
    assert seen == [1, 1, 4]
    assert writer.write(loaded, tmp_path / "8.onnx", metadata={}, precision="int8", speech=speech).parity_on == "speech"
    # The same speech is heard with one and with two; learnt from, it is nearer.
    assert reports[1][-1].relative < reports[2][-1].relative


def test_a_title_changes_no_identity_and_a_weight_does(graph: Path, tmp_path: Path) -> None:
    first = onnx_file.read(graph)
    renamed = small_graph(tmp_path / "renamed.onnx", title="Another")
    assert onnx_file.read(renamed).stated.checkpoint["title"] == "Another"
    assert onnx_file.read(renamed).sha256 == first.sha256
    model = model_in(graph)
    weight = next(one for one in model.graph.initializer if one.name == "layers.0.feed_forward.up.bias")
    weight.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weight) + np.float32(1e-3), weight.name))
    onnx.save(model, graph)
    assert onnx_file.read(graph).sha256 != first.sha256


def test_a_graph_that_computes_something_else_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = checkpoint.load(small_checkpoint(tmp_path / "small.safetensors"))

    def wrong(encoder: torch.nn.Module) -> onnx.ModelProto:
        model = to_onnx(loaded.encoder)
        bias = next(one for one in model.graph.initializer if one.name == "projection.linear.bias")
        bias.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(bias) + np.float32(0.1), bias.name))
        return model

    monkeypatch.setattr("skill_bench.models.export.onnx_file.to_onnx", wrong)
    with pytest.raises(CheckpointError, match=r"not written, because the graph's hidden states are [\d.]+ off"):
        writer.write(loaded, tmp_path / "m.onnx", metadata={}, precision="float32")
    assert not (tmp_path / "m.onnx").exists()


def _edited(change: Callable[[onnx.ModelProto], object]) -> Callable[[Path], None]:
    def edit(path: Path) -> None:
        model = model_in(path)
        change(model)
        path.write_bytes(model.SerializeToString())

    return edit


def _said(name: str, value: str | None) -> Callable[[Path], None]:
    def change(model: onnx.ModelProto) -> None:
        said = properties(model)
        said.pop(name)
        helper.set_model_props(model, said if value is None else said | {name: value})

    return _edited(change)


def _foreign(path: Path) -> None:
    """As transformers' models are exported: another family, other names, no description."""
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ("batch", "tokens"))
    out = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ("batch", "tokens"))
    node = helper.make_node("Cast", ["input_ids"], ["logits"], to=TensorProto.FLOAT)
    model = helper.make_model(helper.make_graph([node], "bert", [ids], [out]), producer_name="pytorch")
    path.write_bytes(model.SerializeToString())


def _renamed_input(model: onnx.ModelProto) -> None:
    for node in model.graph.node:
        node.input[:] = ["input_values" if name == INPUT else name for name in node.input]
    model.graph.input[0].name = "input_values"


def _cut(share: float) -> Callable[[Path], None]:
    return lambda path: (path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)]), None)[1]


def _outside(model: onnx.ModelProto) -> None:
    weight = model.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="../../etc/passwd")


def _constant_outside(model: onnx.ModelProto) -> None:
    value = TensorProto(name="c", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    value.external_data.add(key="location", value="/etc/passwd")
    model.graph.node.insert(0, helper.make_node("Constant", [], ["c"], value=value))


def _unknown_operation(model: onnx.ModelProto) -> None:
    next(node for node in model.graph.node if node.op_type == "Gelu").op_type = "GeluOfTomorrow"


def _fewer_frames(model: onnx.ModelProto) -> None:
    """Every second sample: the right names and types, other frames."""
    conv = next(node for node in model.graph.node if node.op_type == "Conv")
    next(one for one in conv.attribute if one.name == "strides").ints[:] = [4]


BAD: dict[str, tuple[Callable[[Path], object], type[SkillBenchError], str]] = {
    "another model family": (
        _foreign,
        UnknownFormat,
        r"an ONNX file without skill-bench's description \(made by pytorch; takes 'input_ids' int64 \(batch, tokens\); "
        r"gives 'logits' float32 \(batch, tokens\)\).*skill-bench export --format onnx.*skill-bench upstream new",
    ),
    "without our metadata": (
        _edited(lambda model: model.ClearField("metadata_props")),
        UnknownFormat,
        r"made by skill-bench; takes 'waveform' float32 \(1, samples\); gives 'h0' .* and 1 more\)",
    ),
    "another input name": (
        _edited(_renamed_input),
        CheckpointError,
        r"it takes 'input_values' float32 \(1, samples\), expected 'waveform' float32 \(1, samples\): it was changed",
    ),
    "another output": (
        _edited(lambda model: model.graph.output.pop()),
        CheckpointError,
        r"it gives 'h0' .*, expected 'h0' .* and 1 more: it was changed after it was exported",
    ),
    "empty": (lambda path: path.write_bytes(b""), CheckpointError, "holds no graph; empty, damaged, or not ONNX"),
    "cut in the weights": (_cut(0.5), CheckpointError, "cannot be read as ONNX .*truncated, damaged"),
    "text": (lambda path: path.write_text("waveform"), CheckpointError, "cannot be read as ONNX|holds no graph"),
    "absent": (lambda path: path.unlink(), CheckpointError, r"cannot be read \(No such file or directory\)"),
    "weights elsewhere": (
        _edited(_outside),
        CheckpointError,
        r"1 of its weights are in other files .*save_as_external_data=False",
    ),
    "a constant elsewhere": (_edited(_constant_outside), CheckpointError, r"1 of its weights are in other files \(c\)"),
    "another version": (
        _said("version", "9"),
        CheckpointError,
        "skill-bench graph version '9', this program reads '1'",
    ),
    "no architecture": (_said("architecture", None), CheckpointError, "its description lacks 'architecture'"),
    "no JSON": (_said("architecture", "{"), CheckpointError, r"its description cannot be read \(.*Export it again"),
    "a list": (_said("architecture", "[1]"), CheckpointError, "an architecture that is a list, expected a JSON object"),
    "another program's architecture": (
        _said("architecture", '{"hidden_size": 768}'),
        CheckpointError,
        "the architecture in the checkpoint cannot be read: 'convs' is missing",
    ),
    "unknown precision": (_said("precision", "int4"), CheckpointError, "'?precision'? = 'int4', expected 'float32'"),
    "no hash": (_said("checkpoint_sha256", "x"), CheckpointError, "checkpoint_sha256 = 'x', expected"),
    "parity not finite": (_said("parity", '{"float32": [NaN]}'), CheckpointError, "NaN is not a value"),
    "another rate": (
        _said("sample_rate_hz", "8000"),
        CheckpointError,
        "it says sample_rate_hz = '8000', expected '16000': it was changed after it was exported",
    ),
    "another size": (_said("n_parameters", "1"), CheckpointError, "it says n_parameters = '1', expected '"),
    "another licence": (_said("licence", "MIT"), CheckpointError, "it says licence = 'MIT', expected 'CC0'"),
    "an operation that nobody knows": (
        _edited(_unknown_operation),
        CheckpointError,
        r"onnxruntime [\d.]+ cannot run this float32 graph \(.*GeluOfTomorrow.*\)\. Export it again with this",
    ),
    "another hop": (
        _edited(_fewer_frames),
        CheckpointError,
        r"cannot run it on 3600 samples, expected 11 frames of 32 \(.*\{1,13,32\}.*\): it is not the model",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_scored_is_named(name: str, graph: Path) -> None:
    damage, kind, message = BAD[name]
    damage(graph)
    with pytest.raises(SkillBenchError, match=message) as caught:
        from_file(graph, name="skill")
    assert type(caught.value) is kind
    assert str(graph) in str(caught.value)


@pytest.mark.parametrize("precision", ["int8", "int8-static"])
def test_a_quantised_graph_that_cannot_run_is_named(
    precision: Precision, graphs: dict[Precision, Path], tmp_path: Path
) -> None:
    """An operation that this runtime has not, and weights of a type that the operation does not take."""
    path = tmp_path / "mine.onnx"
    model = model_in(graphs[precision])
    kind = {"int8": "MatMulInteger", "int8-static": "QuantizeLinear"}[precision]
    next(node for node in model.graph.node if node.op_type == kind).op_type = f"{kind}OfTomorrow"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(CheckpointError) as caught:
        from_file(path, name="skill")
    assert re.search(
        rf"cannot run this {precision} graph \(.*{kind}OfTomorrow.*\)\. Export it again", str(caught.value)
    )
    model = model_in(graphs[precision])
    weight = next(one for one in model.graph.initializer if one.data_type == TensorProto.INT8 and len(one.dims) == 2)
    weight.CopyFrom(onnx.numpy_helper.from_array(np.zeros(weight.dims, dtype=np.float32), weight.name))
    path.write_bytes(model.SerializeToString())
    with pytest.raises(CheckpointError, match=rf"cannot run this {precision} graph \(.*float.*\)\. Export it again"):
        from_file(path, name="skill")


def test_a_file_beyond_one_protobuf_is_refused_unread(graph: Path) -> None:
    with graph.open("r+b") as file:
        file.truncate(2**31)  # holds no blocks
    with pytest.raises(
        CheckpointError, match=r"2\.15 GB, and one ONNX file holds 2\.15 GB at most.*in 8 bits \(--quantise\)\."
    ):
        onnx_file.read(graph)


@pytest.mark.parametrize("precision", ["int8", "int8-static"])
def test_what_is_too_large_in_float32_is_exported_in_eight_bits(
    precision: Precision, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    shape = architecture(
        channels=8, dim=64, n_layers=2, n_heads=4, ffn_dim=256, position_kernel=16, position_groups=4
    )  # fmt: skip
    checkpoint.save(awake(Encoder(shape)), tmp_path / "m.safetensors", metadata={})
    loaded = checkpoint.load(tmp_path / "m.safetensors")
    wave = 0.1 * torch.randn(8000)

    def write(path: Path, precision: Precision) -> list[np.ndarray]:
        writer.write(loaded, path, metadata={}, precision=precision, speech=[wave])
        return list(onnxruntime.InferenceSession(path).run(None, {INPUT: wave[None].numpy()}))

    within = write(tmp_path / "within.onnx", precision)
    size = (tmp_path / "within.onnx").stat().st_size
    monkeypatch.setattr("skill_bench.models.export.onnx.MOST_BYTES", size)
    with pytest.raises(CheckpointError, match=r"does not fit into one \.onnx file.*--quantise int8\."):
        write(tmp_path / "float32.onnx", "float32")
    assert not (tmp_path / "float32.onnx").exists()
    beyond = write(tmp_path / "beyond.onnx", precision)
    assert len(beyond) == 3
    assert all(np.array_equal(a, b) for a, b in zip(within, beyond, strict=True))
    assert onnx_file.read(tmp_path / "beyond.onnx").stated.precision == precision
    monkeypatch.setattr("skill_bench.models.export.onnx.MOST_BYTES", size // 2)
    with pytest.raises(CheckpointError, match=r"holds 2\.15 GB at most\. Export a smaller student\.$"):
        write(tmp_path / "none.onnx", precision)


def test_a_graph_is_no_checkpoint(graph: Path) -> None:
    with pytest.raises(CheckpointError, match=r"an ONNX graph can be run, not read as a checkpoint\. Score it with"):
        checkpoint.load(graph)


def test_the_description_survives_json(graph: Path) -> None:
    said = properties(model_in(graph))
    assert json.loads(said["checkpoint"]) == METADATA
    assert said["precision"] == "float32", "of the graph; the training's stays with the checkpoint"
