"""Extraction of hidden states: our encoder against transformers and torchaudio with the same random weights."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from skill_bench.base.errors import MissingExtra
from skill_bench.measure.macs import count
from skill_bench.measure.throughput import noise
from skill_bench.models import checkpoint, factories
from skill_bench.models.architecture import Architecture, ConvShape, LayerShape
from skill_bench.models.encoder import Encoder
from skill_bench.models.export import huggingface
from skill_bench.models.export.onnx import INPUT, build, to_onnx
from skill_bench.models.export.quantise import quantise
from skill_bench.models.runtime import Runtime, Session
from skill_bench.models.size import size_of
from speed.contest import Candidates

OURS = "skill-bench"
ALL_THREADS, EAGER, COMPILED = "ONNX Runtime, all threads for each utterance", "our modules in torch", "torch.compile"
INT8 = "skill-bench, int8"
# Sums of up to some thousand float32 terms in another order, over the largest value.
_TOLERANCE = 1e-3
# A scale is one of 255 steps: three hundredths over the twelve layers of a base model.
_TOLERANCE_INT8 = 0.1


def teacher(
    *, batch_size: int, utterance_seconds: float, architecture: Architecture | None = None, compiled: bool = True
) -> Candidates:
    """WavLM Base+: ours (ONNX Runtime, a thread an utterance), the same in 8 bits, with all threads for each utterance,
    our modules in torch, eager and (if ``compiled``) compiled, torchaudio's, transformers' (it has the shape of Base).

    Raises:
        MissingExtra: transformers is not installed.
        AssertionError: they do not give the same hidden states.
    """
    shape = architecture or base_plus()
    waves = _waves(batch_size, utterance_seconds)
    batch = torch.stack(waves)
    ours, theirs = same_models(shape)
    with tempfile.TemporaryDirectory() as folder:
        hugging = transformers_model(ours, Path(folder) / "transformers")
    run: dict[str, Callable[[], Any]] = {
        OURS: _frozen(ours, waves),
        INT8: _eight_bits(ours, waves),
        ALL_THREADS: _all_threads(ours, waves),
        EAGER: lambda: ours(batch)[0],
        **({COMPILED: _compiled(ours, batch)} if compiled else {}),
        "torchaudio": lambda: theirs.extract_features(batch)[0],
        "transformers": lambda: hugging(batch, output_hidden_states=True).hidden_states,
    }
    _check_equal(run)
    return Candidates(
        name="Extraction, WavLM Base+",
        what=(
            f"All hidden states of {batch_size} utterances of {utterance_seconds:g} s, equal random weights; float32, "
            "but for linear layers where it says int8."
        ),
        amount=batch_size * utterance_seconds,
        unit="s of audio",
        run={name: _without_gradients(function) for name, function in run.items()},
        macs=count(lambda: ours(batch)).total,
    )


def student(
    *, batch_size: int, utterance_seconds: float, architecture: Architecture | None = None, compiled: bool = True
) -> Candidates:
    """A pruned student beside its teacher: whether time falls as multiply-adds do."""
    whole = architecture or base_plus()
    small = pruned(whole)
    waves = _waves(batch_size, utterance_seconds)
    batch = torch.stack(waves)
    big_encoder, small_encoder = Encoder(whole).eval(), Encoder(small).eval()
    macs = count(lambda: small_encoder(batch)).total
    fewer = count(lambda: big_encoder(batch)).total / macs
    return Candidates(
        name="Extraction, pruned student",
        what=(
            f"A student of {size_of(small_encoder) / 1e6:.1f} M parameters with "
            f"{fewer:.2f} times fewer multiply-adds than its teacher; {batch_size} utterances of "
            f"{utterance_seconds:g} s; float32, but for linear layers where it says int8."
        ),
        amount=batch_size * utterance_seconds,
        unit="s of audio",
        run={
            OURS: _without_gradients(_frozen(small_encoder, waves)),
            INT8: _without_gradients(_eight_bits(small_encoder, waves)),
            ALL_THREADS: _without_gradients(_all_threads(small_encoder, waves)),
            EAGER: _without_gradients(lambda: small_encoder(batch)),
            **({COMPILED: _without_gradients(_compiled(small_encoder, batch))} if compiled else {}),
            "its teacher": _without_gradients(_frozen(big_encoder, waves)),
        },
        macs=macs,
    )


def base_plus() -> Architecture:
    """WavLM Base and Base+."""
    return factories.architecture(
        channels=512, dim=768, n_layers=12, n_heads=12, ffn_dim=3072, relative_position=factories.WAVLM_POSITION
    )


def pruned(whole: Architecture) -> Architecture:
    """A student of the size that 75 % sparsity leaves: two thirds of the channels, a third of heads, a sixth of FFN."""
    channels = [2 * conv.channels // 3 for conv in whole.convs]
    return replace(
        whole,
        convs=tuple(
            ConvShape(channels=n, kernel=conv.kernel, stride=conv.stride)
            for n, conv in zip(channels, whole.convs, strict=True)
        ),
        layers=tuple(
            LayerShape(heads=layer.heads[: max(1, len(layer.heads) // 3)], ffn_dim=layer.ffn_dim // 6)
            for layer in whole.layers
        ),
    )


def same_models(shape: Architecture) -> tuple[Encoder, Any]:
    """Ours and torchaudio's, in evaluation mode, with the same random weights."""
    theirs = _torchaudio(shape)
    with tempfile.TemporaryDirectory() as folder:
        torch.save(theirs.state_dict(), Path(folder) / "torchaudio.pt")
        return checkpoint.load(Path(folder) / "torchaudio.pt").encoder.eval(), theirs


def _frozen(encoder: Encoder, waves: list[Tensor]) -> Callable[[], list[Tensor]]:
    """As extraction computes it."""
    runtime = Runtime(encoder)
    return lambda: runtime.hidden_states(waves)


def _eight_bits(encoder: Encoder, waves: list[Tensor]) -> Callable[[], list[Tensor]]:
    """As extraction computes the graph of ``export --quantise int8``."""
    graph = quantise(build(encoder), "int8", speech=()).SerializeToString()
    session = Session(encoder.architecture, graph)
    return lambda: session.hidden_states(waves)


def _all_threads(encoder: Encoder, waves: list[Tensor]) -> Callable[[], list[Tensor]]:
    """One utterance after the other, each operation by all threads; memory is kept between calls."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(to_onnx(encoder).SerializeToString(), options)

    def run() -> list[Tensor]:
        found = [session.run(None, {INPUT: wave[None].numpy()}) for wave in waves]
        return [torch.cat([torch.from_numpy(state) for state in states]) for states in found]

    return run


def _compiled(encoder: Encoder, batch: Tensor) -> Callable[[], list[Tensor]]:
    """By torch's own compiler, for this one length: it takes a minute and a C++ compiler."""
    compiled = torch.compile(lambda batch: encoder(batch)[0])
    return lambda: compiled(batch)


def _waves(batch_size: int, seconds: float) -> list[Tensor]:
    return noise(batch_size=batch_size, seconds=seconds, device=torch.device("cpu"), dtype=torch.float32)


def _torchaudio(shape: Architecture) -> Any:
    import torchaudio

    assert shape.relative_position is not None
    torch.manual_seed(0)
    model: Any = torchaudio.models.wavlm_model(
        extractor_mode="group_norm",
        extractor_conv_layer_config=[(conv.channels, conv.kernel, conv.stride) for conv in shape.convs],
        extractor_conv_bias=shape.conv_bias,
        encoder_embed_dim=shape.dim,
        encoder_projection_dropout=0.0,
        encoder_pos_conv_kernel=shape.position_kernel,
        encoder_pos_conv_groups=shape.position_groups,
        encoder_num_layers=len(shape.layers),
        encoder_num_heads=shape.n_heads,
        encoder_num_buckets=shape.relative_position.n_buckets,
        encoder_max_distance=shape.relative_position.max_distance,
        encoder_attention_dropout=0.0,
        encoder_ff_interm_features=shape.layers[0].ffn_dim,
        encoder_ff_interm_dropout=0.0,
        encoder_dropout=0.0,
        encoder_layer_norm_first=False,
        encoder_layer_drop=0.0,
        aux_num_out=None,
    )
    return model.eval()


def transformers_model(ours: Encoder, folder: Path) -> Any:
    """Its model with the same weights, through files in ``folder``.

    Raises:
        MissingExtra: transformers is not installed.
    """
    try:
        from transformers import WavLMModel
    except ImportError as error:
        raise MissingExtra("transformers", extra="transformers", purpose="comparing speed with it") from error
    huggingface.write(ours, folder, metadata={}, card="")
    model: Any = WavLMModel.from_pretrained(folder)
    return model.eval()


def _without_gradients(function: Callable[[], object]) -> Callable[[], object]:
    def run() -> object:
        with torch.inference_mode():
            return function()

    return run


def _check_equal(run: dict[str, Callable[[], Any]]) -> None:
    """The last hidden states are the same: nobody is timed on other work."""
    with torch.inference_mode():
        expected = torch.stack([states[-1] for states in run[OURS]()])
        for name, function in run.items():
            found = function()
            last = torch.stack([states[-1] for states in found]) if name in (OURS, INT8, ALL_THREADS) else found[-1]
            difference = float((last - expected).abs().max() / expected.abs().max())
            assert last.shape == expected.shape, f"{name}: shape {tuple(last.shape)}, expected {tuple(expected.shape)}"
            most = _TOLERANCE_INT8 if name == INT8 else _TOLERANCE
            assert difference < most, f"{name}: hidden states differ by {difference:.2g} of the largest value"
