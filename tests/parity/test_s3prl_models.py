"""Encoder and converters against s3prl's own WavLM and HuBERT classes, which read the original releases.

Normalisation as its producer does it, at three levels of speech: torchaudio's bundles and s3prl's experts.
An epsilon is nothing at a usual level and everything at a low one. (transformers: `test_transformers_family`.)

A checkpoint of ours through s3prl's two entry points gives the encoder's own hidden states.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from reference_models import LARGE, SMALL, WAVLM, make_hubert, make_wavlm, small
from s3prl.upstream.hubert.expert import UpstreamExpert as HubertExpert
from s3prl.upstream.wav2vec2.wav2vec2_model import Wav2Vec2Config, Wav2Vec2Model
from s3prl.upstream.wavlm.expert import UpstreamExpert as WavLMExpert
from s3prl.upstream.wavlm.WavLM import WavLM, WavLMConfig
from torch import Tensor, nn
from torchaudio.pipelines._wav2vec2.utils import _Wav2Vec2Model

import skill_bench.s3prl  # noqa: F401  (puts the upstreams into s3prl's hub)
from skill_bench.base.errors import CheckpointError, KeyMismatch
from skill_bench.models import checkpoint
from skill_bench.models.encoder import Encoder
from skill_bench.models.factories import WAVLM_POSITION, architecture

pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm.*is deprecated:FutureWarning")
LEVELS = (0.1, 0.008, 0.0007)
Reference = Callable[[Tensor], list[Tensor]]


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


def triples(ours: Encoder, theirs: Reference, *, skip: int) -> Iterator[tuple[str, Tensor, Tensor]]:
    noise = torch.randn(9000, generator=torch.Generator().manual_seed(3))
    for level in LEVELS:
        wave = level * (noise + 0.1)
        with torch.no_grad():
            expected, (states, _) = theirs(wave[None]), ours(wave[None])
        for layer, (mine, reference) in enumerate(zip(states[skip:], expected, strict=True), start=skip):
            yield f"h{layer} at {level}", mine, reference[:, : mine.shape[1]]


@pytest.mark.parametrize("wavlm", [False, True], ids=["hubert", "wavlm"])
@pytest.mark.parametrize("large", [False, True], ids=["base", "large"])
def test_torchaudio_bundle(
    wavlm: bool, large: bool, tmp_path: Path, randomise: Callable[[nn.Module], None], compare: Any
) -> None:
    inner = small(wavlm=wavlm, large=large)
    randomise(inner)
    torch.save(inner.state_dict(), tmp_path / "m.pt")
    model = _Wav2Vec2Model(inner, normalize_waveform=large, apply_log_softmax=False, append_star=False).eval()

    def reference(waves: Tensor) -> list[Tensor]:
        states, _ = model.extract_features(waves)
        if large:  # listed before the final norm
            states[-1] = inner.encoder.transformer.layer_norm(states[-1])
        return list(states)

    assert compare(triples(checkpoint.load(tmp_path / "m.pt").encoder, reference, skip=1)) == 9


def experts(expert: Any) -> Reference:
    return lambda waves: list(expert(list(waves))["hidden_states"])


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("style", [{}, LARGE], ids=["base", "large"])
def test_levels_of_wavlm_release(
    style: dict[str, Any], normalize: bool, tmp_path: Path, randomise: Callable[[nn.Module], None], compare: Any
) -> None:
    config, theirs = make_wavlm(**style, normalize=normalize)
    randomise(theirs)
    torch.save({"cfg": config, "model": theirs.state_dict()}, tmp_path / "m.pt")
    reference = experts(WavLMExpert(str(tmp_path / "m.pt")).eval())
    assert compare(triples(checkpoint.load(tmp_path / "m.pt").encoder, reference, skip=0)) == 12


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("style", [{}, LARGE], ids=["base", "large"])
@pytest.mark.parametrize("form", ["s3prl", "fairseq"])
def test_hubert_converted_and_as_fairseq_writes_it(
    form: str,
    style: dict[str, Any],
    normalize: bool,
    tmp_path: Path,
    randomise: Callable[[nn.Module], None],
    compare: Any,
) -> None:
    config, theirs = make_hubert(**style)
    randomise(theirs)
    task = {"normalize": normalize, "labels": ["km"]}
    parts = {"task_cfg": task, "model_cfg": config, "model_weight": theirs.state_dict()}
    torch.save({**parts, "dictionaries_symbols": [["a", "b", "c"]]}, tmp_path / "m.pt")
    reference = experts(HubertExpert(str(tmp_path / "m.pt")).eval())
    if form == "fairseq":
        cfg = {"model": {"_name": "hubert", **config}, "task": {"_name": "hubert_pretraining", **task}}
        torch.save({"args": None, "cfg": cfg, "model": theirs.state_dict()}, tmp_path / "m.pt")
    loaded = checkpoint.load(tmp_path / "m.pt")
    assert loaded.format == {"s3prl": "s3prl_converted", "fairseq": "fairseq_file"}[form]
    assert compare(triples(loaded.encoder, reference, skip=0)) == 12


@pytest.fixture
def encoder() -> Encoder:
    torch.manual_seed(0)
    small = architecture(
        channels=16, dim=32, n_layers=2, n_heads=4, ffn_dim=20, relative_position=WAVLM_POSITION,
        position_kernel=16, position_groups=4,
    )  # fmt: skip
    return Encoder(small).eval().requires_grad_(False)


@pytest.fixture
def saved(encoder: Encoder, tmp_path: Path) -> str:
    checkpoint.save(encoder, tmp_path / "student.safetensors", metadata={"title": "tiny"})
    return str(tmp_path / "student.safetensors")


WAVES = [torch.randn(8000, generator=torch.Generator().manual_seed(1)), torch.linspace(-1, 1, 3200)]


@pytest.mark.filterwarnings("ignore")  # s3prl's own
@pytest.mark.parametrize("name", ["skill", "dphubert"])
def test_hub_entry(encoder: Encoder, saved: str, name: str) -> None:
    from s3prl import hub

    states = getattr(hub, name)(ckpt=saved, model_config=None, refresh=False)(WAVES)["hidden_states"]
    assert len(states) == 3
    compared = 0
    for i, wave in enumerate(WAVES):
        for state, expected in zip(states, encoder(wave[None])[0], strict=True):
            torch.testing.assert_close(state[i, : expected.shape[1]], expected[0], rtol=1e-4, atol=1e-5)
            compared += 1
    assert compared == 6


@pytest.mark.filterwarnings("ignore")
def test_s3prl_upstream_and_featurizer(encoder: Encoder, saved: str) -> None:
    from s3prl.nn import Featurizer, S3PRLUpstream

    upstream = S3PRLUpstream("skill", path_or_url=saved)
    assert (upstream.num_layers, upstream.hidden_sizes, upstream.downsample_rates) == (3, [32] * 3, [320] * 3)
    states, lengths = upstream(torch.nn.utils.rnn.pad_sequence(WAVES, batch_first=True), torch.tensor([8000, 3200]))
    assert [length.tolist() for length in lengths] == [[25, 10]] * 3
    expected = encoder(WAVES[0][None])[0]
    # s3prl counts ceil(samples / 320) frames and repeats the last one; the convolutions give 24 of its 25.
    assert [state.shape[1] for state in expected] == [24] * 3
    for state, want in zip(states, expected, strict=True):
        torch.testing.assert_close(state[0, :24], want[0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(state[0, 24], state[0, 23], rtol=0, atol=0)
    features, _ = Featurizer(upstream)(states, lengths)
    torch.testing.assert_close(features, torch.stack(states).mean(dim=0), rtol=1e-4, atol=1e-5)
