"""The ONNX graph gives the hidden states of the modules, for any shape and any length."""

from __future__ import annotations

from dataclasses import replace

import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import Float
from small_encoders import architectures, awake
from torch import Tensor

from skill_bench.base.errors import CheckpointError
from skill_bench.models import factories
from skill_bench.models.architecture import Architecture, LayerShape, RelativePosition
from skill_bench.models.encoder import Encoder
from skill_bench.models.export import onnx as export
from skill_bench.models.position import ConvolutionalPosition

WAVLM = factories.architecture(
    channels=24,
    dim=32,
    n_layers=3,
    n_heads=4,
    ffn_dim=40,
    position_kernel=8,
    position_groups=4,
    relative_position=RelativePosition(n_buckets=32, max_distance=40),
)
HUBERT = replace(WAVLM, relative_position=None)
HUBERT_LARGE = replace(HUBERT, conv_bias=True, conv_norm="layer_norm", layer_norm_first=True, normalize_waveform=True)
SHAPES = {
    "hubert": HUBERT,
    "wavlm": WAVLM,
    "hubert large": HUBERT_LARGE,
    "wavlm large": replace(HUBERT_LARGE, conv_bias=False, relative_position=WAVLM.relative_position),
    "pruned": replace(
        WAVLM,
        channel_scale=True,
        layers=(
            LayerShape(heads=(), ffn_dim=7),
            LayerShape(heads=(2,), ffn_dim=0),
            LayerShape(heads=(0, 3), ffn_dim=13),
            LayerShape(heads=(), ffn_dim=0),
        ),
    ),
    "data2vec": replace(HUBERT, position_norm="layer_norm", position_depth=3, position_kernel=5),
    "batch norm": replace(HUBERT, position_norm="batch_norm", projection_norm=False),
}
LENGTHS = (400, 721, 16_001, 160_000)
"""One receptive field, two frames, odd, ten seconds: 499 frames, beyond the largest distance of the position bias."""


def run(model: onnx.ModelProto, wave: Float[Tensor, " samples"]) -> list[Tensor]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return [torch.from_numpy(state) for state in session.run(None, {export.INPUT: wave[None].numpy()})]


@torch.no_grad()
def assert_same_states(encoder: Encoder, wave: Float[Tensor, " samples"]) -> None:
    found, plain = run(export.to_onnx(encoder), wave), encoder(wave[None])[0]
    exact = encoder.double()(wave[None].double())[0]
    encoder.float()
    assert len(found) == len(exact) == len(encoder.layers) + 1
    for ours, theirs, reference in zip(found, plain, exact, strict=True):
        # As near as the modules' own float32 is, in which a norm over few channels may amplify a rounding a
        # thousandfold; else some sums of float32 in another order.
        near = 1e-4 + 20 * float((theirs - reference).abs().max())
        assert ours.shape == reference.shape
        torch.testing.assert_close(ours, reference.float(), rtol=1e-4, atol=near)


@pytest.mark.parametrize("name", SHAPES)
def test_states_are_those_of_the_modules(name: str) -> None:
    torch.manual_seed(0)
    encoder = awake(Encoder(SHAPES[name]))
    model = export.to_onnx(encoder)
    onnx.checker.check_model(model, full_check=True)
    for length in LENGTHS:
        assert_same_states(encoder, 0.1 * torch.randn(length) + 0.05)


@settings(max_examples=40, deadline=None)
@given(shape=architectures(), length=st.integers(400, 6000), seed=st.integers(0, 1000))
def test_any_shape(shape: Architecture, length: int, seed: int) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        assert_same_states(awake(Encoder(shape)), torch.randn(length) * 0.1 + 0.05)


def test_full_width() -> None:
    torch.manual_seed(0)
    shape = factories.architecture(
        channels=512, dim=768, n_layers=1, n_heads=12, ffn_dim=3072, relative_position=factories.WAVLM_POSITION
    )
    assert_same_states(awake(Encoder(shape)), 0.1 * torch.randn(20_000))


@torch.no_grad()
def test_silence_and_a_constant_offset() -> None:
    torch.manual_seed(0)
    encoder = awake(Encoder(HUBERT))
    model = export.to_onnx(encoder)
    waves = [torch.zeros(1000), torch.full((2000,), 0.5), 0.3 + 1e-4 * torch.randn(3000)]
    states = [run(model, wave) for wave in waves]
    encoder.double()  # the modules lose digits here, the graph must not
    for wave, found in zip(waves, states, strict=True):
        expected = torch.stack(encoder(wave[None].double())[0]).float()
        torch.testing.assert_close(torch.stack(found), expected, rtol=1e-4, atol=1e-4)


def test_the_file_says_what_goes_in_and_out() -> None:
    torch.manual_seed(0)
    model = export.to_onnx(Encoder(WAVLM).eval())
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", export.OPSET)]
    shapes = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert shapes == {"waveform": [1, "samples"]} | {f"h{i}": [1, "frames", 32] for i in range(4)}


def test_the_oldest_runtime_that_knows_the_opset_takes_the_file() -> None:
    """A file of a later format than its operations need is refused by runtimes that could run it."""
    torch.manual_seed(0)
    model = export.to_onnx(Encoder(WAVLM).eval())
    assert model.ir_version == onnx.helper.find_min_ir_version_for(list(model.opset_import)) == 9


def test_the_graph_is_the_same_whatever_the_number_of_threads() -> None:
    """Its hash names it, and hidden states are compared between machines. A norm's sum has other bits in parts."""
    torch.manual_seed(0)
    encoder = Encoder(replace(HUBERT, dim=96, position_kernel=64, position_groups=1)).eval()
    assert isinstance(encoder.position, ConvolutionalPosition)
    made, before = [], torch.get_num_threads()
    try:
        for n_threads in (1, 3):
            torch.set_num_threads(n_threads)
            made.append((export.to_onnx(encoder).SerializeToString(), encoder.position.conv.weight.detach().clone()))
    finally:
        torch.set_num_threads(before)
    (first, whole), (second, in_parts) = made
    assert not torch.equal(whole, in_parts), "torch's own norm is large enough for several threads"
    assert first == second


def test_a_model_beyond_one_protobuf_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    monkeypatch.setattr(export, "MOST_BYTES", 100_000)
    with pytest.raises(
        CheckpointError, match=r"0\.00 GB does not fit into one \.onnx file.*smaller student, or .* --quantise int8\."
    ):
        export.to_onnx(Encoder(WAVLM).eval())
