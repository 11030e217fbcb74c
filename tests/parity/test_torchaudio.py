"""Encoder and converter against torchaudio.models, component by component.

fbank and logmel against s3prl's own baseline upstreams.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import s3prl.upstream.baseline
import torch
import torchaudio
from reference_models import small
from s3prl.upstream.baseline.expert import UpstreamExpert
from torch import Tensor, nn

from skill_bench.base.errors import CheckpointError, KeyMismatch
from skill_bench.models import checkpoint
from skill_bench.models.convert.shared.foreign import Source
from skill_bench.models.encoder import Encoder
from skill_bench.upstream.load import load_upstream

CONFIGS = Path(s3prl.upstream.baseline.__file__).parent


def components(ours: Encoder, theirs: Any, waves: Tensor) -> Iterator[tuple[str, Tensor, Tensor]]:
    given = torch.nn.functional.layer_norm(waves, waves.shape[1:]) if ours.architecture.normalize_waveform else waves
    transformer = theirs.encoder.transformer
    kept: list[Tensor] = []
    transformer.layers[0].register_forward_pre_hook(lambda _, args: kept.append(args[0]))
    with torch.no_grad():
        expected, _ = theirs.extract_features(given)
        front_end, _ = theirs.feature_extractor(given, None)
        projected = theirs.encoder.feature_projection(front_end)
        frames, _ = ours.frames(waves)
        states, _ = ours(waves)
        # torchaudio lists pre-norm models' last state before the final norm.
        last = transformer.layer_norm(expected[-1]) if ours.architecture.layer_norm_first else expected[-1]
    yield "front end", frames, front_end
    yield "feature projection", ours.projection(frames), projected
    yield "h0", states[0], kept[0]
    for index, (mine, reference) in enumerate(zip(states[1:], [*expected[:-1], last], strict=True), start=1):
        yield f"h{index}", mine, reference


def load(model: nn.Module, path: Path) -> checkpoint.LoadedModel:
    torch.save(model.state_dict(), path)
    return checkpoint.load(path)


@pytest.mark.parametrize("wavlm", [False, True], ids=["hubert", "wavlm"])
@pytest.mark.parametrize("large", [False, True], ids=["base", "large"])
@pytest.mark.parametrize("conv_bias", [False, True], ids=["no-bias", "conv-bias"])
def test_small(
    wavlm: bool,
    large: bool,
    conv_bias: bool,
    tmp_path: Path,
    waves: Tensor,
    randomise: Callable[[nn.Module], None],
    compare: Any,
) -> None:
    theirs = small(wavlm=wavlm, large=large, conv_bias=conv_bias)
    randomise(theirs)
    loaded = load(theirs, tmp_path / "model.pt")
    assert loaded.format == "torchaudio_state"
    assert compare(components(loaded.encoder, theirs, waves)) == 6


def _with_layers(build: Callable[..., nn.Module], n_layers: int) -> Callable[..., nn.Module]:
    return lambda **options: build(**{**options, "encoder_num_layers": n_layers})


@pytest.mark.parametrize(
    ("factory", "n_layers", "n_parameters"),
    [
        ("hubert_base", 12, 94_370_944),
        ("wav2vec2_base", 12, 94_370_944),
        ("wavlm_base", 12, 94_381_168),
        ("hubert_large", 2, None),
        ("wav2vec2_large_lv60k", 2, None),
        ("wav2vec2_large", 2, None),
        ("wavlm_large", 2, None),
        ("hubert_xlarge", 1, None),
    ],
)
def test_true_size(
    factory: str,
    n_layers: int,
    n_parameters: int | None,
    waves: Tensor,
    randomise: Callable[[nn.Module], None],
    compare: Any,
) -> None:
    """Large ones with their first layers only: a layer is like the next, and memory is not."""
    module = torchaudio.models.wav2vec2.model
    with pytest.MonkeyPatch.context() as patch:
        for name in ("wav2vec2_model", "wavlm_model"):
            patch.setattr(module, name, _with_layers(getattr(module, name), n_layers))
        theirs = getattr(module, factory)()
    randomise(theirs)
    source = Source(path=Path("model.pt"), content=theirs.state_dict())
    ours = checkpoint.read(source).encoder
    assert compare(components(ours, theirs, waves[:1, :8000])) == n_layers + 3
    if n_parameters is not None:
        assert sum(parameter.numel() for parameter in ours.parameters()) == n_parameters


def test_bundle_wrapper_old_weight_norm_and_aux_head(
    tmp_path: Path, waves: Tensor, randomise: Callable[[nn.Module], None], compare: Any
) -> None:
    theirs = small(wavlm=True, large=True, aux=29)
    randomise(theirs)
    old = {".parametrizations.weight.original0": ".weight_g", ".parametrizations.weight.original1": ".weight_v"}
    state = {}
    for key, value in theirs.state_dict().items():
        for new, previous in old.items():
            key = key.replace(new, previous)
        state[f"model.{key}"] = value
    assert "model.aux.weight" in state
    assert "model.encoder.transformer.pos_conv_embed.conv.weight_g" in state
    torch.save(state, tmp_path / "bundle.pt")
    assert compare(components(checkpoint.load(tmp_path / "bundle.pt").encoder, theirs, waves)) == 6


def test_pretraining_model(tmp_path: Path, waves: Tensor, randomise: Callable[[nn.Module], None], compare: Any) -> None:
    theirs = torchaudio.models.hubert_pretrain_base(num_classes=7)
    theirs.wav2vec2.encoder.transformer.layers = theirs.wav2vec2.encoder.transformer.layers[:1]
    randomise(theirs)
    torch.save(
        {"state_dict": {f"model.{key}": value for key, value in theirs.state_dict().items()}}, tmp_path / "m.ckpt"
    )
    assert compare(components(checkpoint.load(tmp_path / "m.ckpt").encoder, theirs.wav2vec2, waves[:1])) == 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"encoder_embed_dim": 96, "encoder_num_heads": 4}, r"width 96 is not a published one \(768, 1024"),
        ({"extractor_conv_layer_config": [(24, 8, 5), *[(24, 3, 2)] * 6]}, "strides unknown"),
    ],
)
def test_what_shapes_do_not_tell_is_not_guessed(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=message):
        load(small(wavlm=False, large=False, **changes), tmp_path / "model.pt")


def test_other_bucket_counts_are_not_guessed(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="32 position buckets, not 320"):
        load(small(wavlm=True, large=False, encoder_num_buckets=32), tmp_path / "model.pt")


def test_missing_and_left_over_weights_are_named_as_in_the_file(tmp_path: Path) -> None:
    state = small(wavlm=True, large=False).state_dict()
    del state["encoder.transformer.layers.1.final_layer_norm.bias"]
    state["decoder.weight"] = torch.zeros(2)
    torch.save(state, tmp_path / "model.pt")
    with pytest.raises(KeyMismatch) as caught:
        checkpoint.load(tmp_path / "model.pt")
    assert caught.value.missing == ["encoder.transformer.layers.1.final_layer_norm.bias"]
    assert caught.value.unexpected == ["decoder.weight"]


@pytest.mark.parametrize(("name", "config"), [("fbank", "fbank.yaml"), ("logmel", "fbank_no_cmvn.yaml")])
def test_same_as_s3prl(name: str, config: str) -> None:
    theirs: Any = UpstreamExpert(str(CONFIGS / config))
    ours = load_upstream(name)
    generator = torch.Generator().manual_seed(0)
    waves = [0.1 * torch.randn(n, generator=generator) for n in (16000, 800, 12345)]
    expected, given = theirs(waves), ours(waves)
    assert ours.downsample_rate == theirs.get_downsample_rates("hidden_states") == 160
    assert len(given["hidden_states"]) == len(expected["hidden_states"]) == 1
    assert given["last_hidden_state"].shape == (3, 98, 240)
    # The same calls of torchaudio in the same order: equal but for the last bit of the normalisation.
    torch.testing.assert_close(given["hidden_states"][0], expected["hidden_states"][0], rtol=1e-5, atol=1e-5)
    if name == "fbank":
        means = ours.hidden_states(waves)[0][0].mean(dim=0)
        assert means.abs().max() < 1e-4
