"""Encoder and converters against s3prl's own WavLM and HuBERT classes, which read the original releases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from reference_models import LARGE, SMALL, WAVLM, make_hubert, make_wavlm
from s3prl.upstream.wav2vec2.wav2vec2_model import Wav2Vec2Config, Wav2Vec2Model
from s3prl.upstream.wavlm.WavLM import WavLM, WavLMConfig
from torch import Tensor, nn

from skill_bench.base.errors import CheckpointError, KeyMismatch
from skill_bench.models import checkpoint
from skill_bench.models.encoder import Encoder

pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm.*is deprecated:FutureWarning")


def components(ours: Encoder, theirs: Any, waves: Tensor) -> Iterator[tuple[str, Tensor, Tensor]]:
    """The same places as the hooks of s3prl's experts: inputs of the layers, output of the encoder."""
    kept: dict[str, Tensor] = {}
    theirs.feature_extractor.register_forward_hook(lambda _, __, out: kept.update(front=out.transpose(1, 2)))
    theirs.post_extract_proj.register_forward_hook(lambda _, __, out: kept.update(projected=out.clone()))
    for index, layer in enumerate(theirs.encoder.layers):
        layer.register_forward_hook(
            lambda _, inputs, __, index=index: kept.update({f"h{index}": inputs[0].transpose(0, 1)})
        )
    given = waves
    if ours.architecture.normalize_waveform:
        given = torch.stack([torch.nn.functional.layer_norm(wave, wave.shape) for wave in waves])
    with torch.no_grad():
        last, _ = theirs.extract_features(given, padding_mask=None, mask=False)
        frames, _ = ours.frames(waves)
        states, counts = ours(waves)
    yield "front end", frames, kept["front"]
    yield "feature projection", ours.projection(frames), kept["projected"]
    n = int(counts[0])
    for index in range(len(theirs.encoder.layers)):
        # s3prl's HuBERT pads to an even number of frames inside the encoder.
        yield f"h{index}", states[index], kept[f"h{index}"][:, :n]
    yield "last hidden state", states[-1], last


@pytest.mark.parametrize(
    "style", [{}, {"conv_bias": True}, LARGE, {**LARGE, "conv_bias": True, "normalize": True}], ids=str
)
def test_wavlm_release(
    style: dict[str, Any], tmp_path: Path, waves: Tensor, randomise: Callable[[nn.Module], None], compare: Any
) -> None:
    config, theirs = make_wavlm(**style)
    randomise(theirs)
    torch.save({"cfg": config, "model": theirs.state_dict()}, tmp_path / "WavLM.pt")
    loaded = checkpoint.load(tmp_path / "WavLM.pt")
    assert loaded.format == "wavlm_release"
    assert loaded.encoder.architecture.normalize_waveform == style.get("normalize", False)
    assert compare(components(loaded.encoder, theirs, waves)) == 6


@pytest.mark.parametrize("style", [{}, LARGE, {**LARGE, "conv_bias": True}], ids=str)
@pytest.mark.parametrize("normalize", [False, True])
def test_converted_hubert(
    style: dict[str, Any],
    normalize: bool,
    tmp_path: Path,
    waves: Tensor,
    randomise: Callable[[nn.Module], None],
    compare: Any,
) -> None:
    config, theirs = make_hubert(**style)
    randomise(theirs)
    content = {
        "task_cfg": {"normalize": normalize},
        "model_cfg": config,
        "model_weight": theirs.state_dict(),
        "dictionaries_symbols": [["a", "b", "c"]],
    }
    torch.save(content, tmp_path / "hubert.pt")
    loaded = checkpoint.load(tmp_path / "hubert.pt")
    assert loaded.format == "s3prl_converted"
    assert compare(components(loaded.encoder, theirs, waves)) == 6


DATA2VEC = {"extractor_mode": "layer_norm", "pos_conv_depth": 5, "conv_pos": 35}


@pytest.mark.parametrize("style", [{}, {**LARGE, "conv_bias": True}, DATA2VEC], ids=str)
def test_converted_wav2vec2(
    style: dict[str, Any], tmp_path: Path, waves: Tensor, randomise: Callable[[nn.Module], None], compare: Any
) -> None:
    config = {**SMALL, "quantize_targets": True, "final_dim": 8, "latent_vars": 8, "latent_groups": 2, **style}
    torch.manual_seed(0)
    theirs = Wav2Vec2Model(Wav2Vec2Config(**config))
    randomise(theirs)
    assert any(key.startswith("quantizer.") for key in theirs.state_dict())
    content = {"task_cfg": {"normalize": True}, "model_cfg": config, "model_weight": theirs.state_dict()}
    torch.save(content, tmp_path / "wav2vec2.pt")
    loaded = checkpoint.load(tmp_path / "wav2vec2.pt")
    # Without its own switch, wav2vec 2.0's extract_features goes through the masking of pre-training.
    theirs.extract_features = lambda wave, **_: (theirs(wave, mask=False, features_only=True)["x"], None)
    assert compare(components(loaded.encoder, theirs, waves)) == 6


@pytest.mark.slow
def test_true_wavlm_base(waves: Tensor, tmp_path: Path, randomise: Callable[[nn.Module], None], compare: Any) -> None:
    config = {**WAVLM, "num_buckets": 320, "max_distance": 800}
    theirs = WavLM(WavLMConfig(config))
    randomise(theirs)
    path = tmp_path / "WavLM-Base.pt"
    torch.save({"cfg": config, "model": theirs.state_dict()}, path)
    ours = checkpoint.load(path).encoder
    path.unlink()
    assert sum(parameter.numel() for parameter in ours.parameters()) == 94_381_168
    assert compare(components(ours, theirs, waves[:1])) == 15


def _save(path: Path, config: dict[str, Any], weights: dict[str, Tensor]) -> Path:
    torch.save({"cfg": config, "model": weights}, path)
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"activation_fn": "relu"}, "activation_fn = 'relu' is not supported, only 'gelu'"),
        ({"gru_rel_pos": False}, "gru_rel_pos = False is not supported"),
        ({"conv_feature_layers": "__import__('os').system('true')"}, "conv_feature_layers = .* cannot be read"),
        ({"conv_feature_layers": "[(24,10)]"}, "expected \\(channels, kernel, stride\\)"),
        ({"encoder_embed_dim": 52}, "has shape .* the architecture needs"),
    ],
)
def test_configurations_that_cannot_be_used(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    config, theirs = make_wavlm()
    with pytest.raises(CheckpointError, match=message):
        checkpoint.load(_save(tmp_path / "m.pt", {**config, **change}, theirs.state_dict()))


def test_keys_that_do_not_fit(tmp_path: Path) -> None:
    config, theirs = make_wavlm()
    weights = {key: value for key, value in theirs.state_dict().items() if key != "layer_norm.bias"}
    weights["mystery"] = torch.zeros(3)
    with pytest.raises(KeyMismatch, match="mystery") as caught:
        checkpoint.load(_save(tmp_path / "m.pt", config, weights))
    assert (caught.value.missing, caught.value.unexpected) == (["layer_norm.bias"], ["mystery"])
