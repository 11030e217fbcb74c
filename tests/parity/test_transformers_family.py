"""Every model of transformers that can be read, with its own feature extractor, at three levels of speech."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn

from skill_bench.base.errors import CheckpointError
from skill_bench.models import checkpoint
from skill_bench.models.convert.shared.key_names import fairseq_names
from skill_bench.models.convert.shared.schema import Data2VecConfig, SpeechConfig, TransformersConfig
from skill_bench.models.export import dphubert, huggingface
from skill_bench.models.runtime import Runtime

SMALL: dict[str, Any] = {
    "hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 40, "conv_dim": [24] * 7,
    "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4, "num_buckets": 32, "max_bucket_distance": 20,
}  # fmt: skip
LARGE: dict[str, Any] = {"feat_extract_norm": "layer", "do_stable_layer_norm": True}
DATA2VEC: dict[str, Any] = {"num_conv_pos_embeddings": 5, "conv_pos_kernel_size": 7}
LEVELS = (0.1, 0.008, 0.0007)
MODELS = {
    "hubert": ("Hubert", {}),
    "hubert-large": ("Hubert", LARGE),
    "wav2vec2": ("Wav2Vec2", {}),
    "wav2vec2-large": ("Wav2Vec2", LARGE),
    "wavlm": ("WavLM", {}),
    "wavlm-large": ("WavLM", LARGE),
    "unispeech": ("UniSpeech", {}),
    "unispeech-large": ("UniSpeech", LARGE),
    "unispeech-sat": ("UniSpeechSat", {}),
    "unispeech-sat-large": ("UniSpeechSat", LARGE),
    "data2vec-audio": ("Data2VecAudio", DATA2VEC),
    "data2vec-audio-one-convolution": ("Data2VecAudio", {**DATA2VEC, "num_conv_pos_embeddings": 1}),
    "distilhubert": ("Hubert", {"feat_proj_layer_norm": False, "num_hidden_layers": 2}),
    "hubert-batch-norm": ("Hubert", {"conv_pos_batch_norm": True}),
    "hubert-large-batch-norm": ("Hubert", {**LARGE, "conv_pos_batch_norm": True}),
    # Options that these classes do not have, and ignore.
    "wav2vec2-ignores": ("Wav2Vec2", {"conv_pos_batch_norm": True, "feat_proj_layer_norm": False}),
    "hubert-ignores-adapters": ("Hubert", {"adapter_attn_dim": 8}),
    "wav2vec2-adapter": ("Wav2Vec2", {"add_adapter": True}),
    "wavlm-adapter": ("WavLM", {"add_adapter": True}),
}


def make(name: str, randomise: Callable[[nn.Module], None]) -> Any:
    kind, options = MODELS[name]
    config = getattr(transformers, f"{kind}Config")(**{**SMALL, **options}, attn_implementation="eager")
    torch.manual_seed(0)
    model = getattr(transformers, f"{kind}Model")(config)
    randomise(model)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.running_mean.normal_()  # type: ignore[union-attr]
            module.running_var.uniform_(0.3, 2)  # type: ignore[union-attr]
    return model


def extractor(*, normalize: bool) -> Any:
    return transformers.Wav2Vec2FeatureExtractor(do_normalize=normalize)  # type: ignore[no-untyped-call]


def save(model: Any, folder: Path, *, normalize: bool) -> Path:
    model.save_pretrained(folder)
    extractor(normalize=normalize).save_pretrained(folder)
    return folder


def expected(model: Any, wave: Tensor, *, normalize: bool) -> list[Tensor]:
    """Its hidden states; the last of pre-norm models behind the final norm, as ``last_hidden_state`` is."""
    given = extractor(normalize=normalize)(wave.numpy(), sampling_rate=16_000, return_tensors="pt").input_values
    with torch.no_grad():
        states = list(model(given, output_hidden_states=True).hidden_states)
        if getattr(model.config, "do_stable_layer_norm", False):
            states[-1] = model.encoder.layer_norm(states[-1])
    return states


def triples(
    ours: checkpoint.LoadedModel, theirs: Any, *, normalize: bool, levels: tuple[float, ...] = LEVELS
) -> Iterator[tuple[str, Tensor, Tensor]]:
    noise = torch.randn(9000, generator=torch.Generator().manual_seed(3))
    for level in levels:
        wave = level * (noise + 0.1)
        plain, _ = ours.encoder(wave[None])
        with torch.no_grad():
            frozen = Runtime(ours.encoder).hidden_states([wave])[0]
        for layer, reference in enumerate(expected(theirs, wave, normalize=normalize)):
            yield f"h{layer} at {level}", plain[layer], reference
            yield f"h{layer} at {level}, ONNX Runtime", frozen[layer][None], reference


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_hidden_states(
    name: str, normalize: bool, tmp_path: Path, randomise: Callable[[nn.Module], None], compare: Any
) -> None:
    theirs = make(name, randomise)
    ours = checkpoint.load(save(theirs, tmp_path / "m", normalize=normalize))
    n_layers = theirs.config.num_hidden_layers
    assert compare(triples(ours, theirs, normalize=normalize)) == 2 * 3 * (n_layers + 1)
    assert ours.encoder.architecture.normalize_eps == (1e-7 if normalize else 1e-5)
    adapted = ("the adapter behind the encoder is left out: hidden states do not depend on it",)
    assert ours.notes == (adapted if name.endswith("-adapter") else ())


@pytest.mark.parametrize("normalize", [False, True])
def test_processor_of_transformers_5(
    normalize: bool, tmp_path: Path, randomise: Callable[[nn.Module], None], compare: Any
) -> None:
    """Its feature extractor lies inside processor_config.json, which comes first where both are there."""
    theirs = make("wav2vec2-large", randomise)
    (tmp_path / "vocab.json").write_text(json.dumps({"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3, "|": 4, "A": 5}))
    tokenizer = transformers.Wav2Vec2CTCTokenizer(str(tmp_path / "vocab.json"))  # type: ignore[no-untyped-call]
    folder = save(theirs, tmp_path / "m", normalize=not normalize)
    processor: Any = transformers.Wav2Vec2Processor(extractor(normalize=normalize), tokenizer)  # type: ignore[no-untyped-call]
    processor.save_pretrained(folder)
    assert (folder / "processor_config.json").is_file()
    found: Any = transformers.AutoFeatureExtractor.from_pretrained(folder)  # type: ignore[no-untyped-call]
    assert found.do_normalize == normalize
    assert compare(triples(checkpoint.load(folder), theirs, normalize=normalize, levels=LEVELS[:1])) == 8


@pytest.mark.parametrize("text", ["{}", '{"feature_size": 1}'])
def test_an_extractor_that_says_nothing_normalises(
    text: str, tmp_path: Path, randomise: Callable[[nn.Module], None]
) -> None:
    folder = save(make("hubert", randomise), tmp_path / "m", normalize=False)
    (folder / "preprocessor_config.json").write_text(text)
    assert transformers.Wav2Vec2FeatureExtractor.from_pretrained(folder).do_normalize
    assert checkpoint.load(folder).encoder.architecture.normalize_waveform


def test_a_base_model_without_an_extractor_is_not_normalised_and_that_is_said(
    tmp_path: Path, randomise: Callable[[nn.Module], None]
) -> None:
    make("hubert", randomise).save_pretrained(tmp_path / "m")
    loaded = checkpoint.load(tmp_path / "m")
    assert loaded.notes == ("whether the waveform must be normalised is not stated: it is not",)
    assert not loaded.encoder.architecture.normalize_waveform


@pytest.mark.parametrize("kind", ["Hubert", "WavLM", "Wav2Vec2", "UniSpeech", "UniSpeechSat", "Data2VecAudio"])
def test_what_config_json_leaves_out_has_the_classes_default(kind: str) -> None:
    theirs = getattr(transformers, f"{kind}Config")()
    schema: type[TransformersConfig] = Data2VecConfig if kind == "Data2VecAudio" else SpeechConfig
    ours = schema(model_type=theirs.model_type)
    compared = 0
    for name in schema.model_fields:
        if hasattr(theirs, name):
            value = getattr(theirs, name)
            assert getattr(ours, name) == (tuple(value) if isinstance(value, list) else value), name
            compared += 1
    assert compared >= 14


def test_a_slim_configuration(tmp_path: Path, randomise: Callable[[nn.Module], None], compare: Any) -> None:
    """As old repositories have it: only what differs from the class."""
    theirs = make("hubert", randomise)
    folder = save(theirs, tmp_path / "m", normalize=False)
    config = json.loads((folder / "config.json").read_text())
    slim = {key: value for key, value in config.items() if key in SMALL or key == "model_type"}
    assert "conv_kernel" not in slim
    (folder / "config.json").write_text(json.dumps(slim))
    assert compare(triples(checkpoint.load(folder), theirs, normalize=False, levels=LEVELS[:1])) == 8


def test_fairseqs_file_with_a_batch_norm(tmp_path: Path, randomise: Callable[[nn.Module], None], compare: Any) -> None:
    """fairseq's ``make_conv_pos``: batch norm and convolution are entries 0 and 1 of one sequence."""
    theirs = make("hubert-batch-norm", randomise)
    ours = checkpoint.load(save(theirs, tmp_path / "m", normalize=False)).encoder
    name = fairseq_names("group_norm", "weight_norm")
    state = {name(key): value for key, value in ours.state_dict().items() if not key.startswith("position.")}
    for entry, module in enumerate((theirs.encoder.pos_conv_embed.batch_norm, theirs.encoder.pos_conv_embed.conv)):
        state |= {f"encoder.pos_conv.{entry}.{key}": value for key, value in module.state_dict().items()}
    config = {
        "conv_feature_layers": "[(24,10,5)] + [(24,3,2)] * 4 + [(24,2,2)] * 2", "encoder_embed_dim": 48,
        "encoder_layers": 3, "encoder_attention_heads": 4, "encoder_ffn_embed_dim": 40, "conv_pos": 16,
        "conv_pos_groups": 4, "conv_pos_batch_norm": True,
    }  # fmt: skip
    torch.save({"cfg": {"model": config, "task": {}}, "model": state}, tmp_path / "m.pt")
    assert compare(triples(checkpoint.load(tmp_path / "m.pt"), theirs, normalize=False, levels=LEVELS[:1])) == 8


@pytest.mark.parametrize("kind", ["Hubert", "UniSpeech", "UniSpeechSat", "Wav2Vec2"])
def test_adapters_inside_the_layers_are_refused(kind: str, tmp_path: Path) -> None:
    config = getattr(transformers, f"{kind}Config")(**SMALL, **LARGE, adapter_attn_dim=8)
    folder = save(getattr(transformers, f"{kind}Model")(config), tmp_path / "m", normalize=True)
    with pytest.raises(CheckpointError, match="adapter_attn_dim = 8 is not supported: adapters inside the layers"):
        checkpoint.load(folder)


@pytest.mark.parametrize(
    "head",
    ["UniSpeechForPreTraining", "UniSpeechForCTC", "UniSpeechSatForPreTraining", "UniSpeechSatForXVector",
     "Data2VecAudioForCTC", "Data2VecAudioForXVector"],
)  # fmt: skip
def test_heads(head: str, tmp_path: Path, randomise: Callable[[nn.Module], None], compare: Any) -> None:
    kind = head.partition("For")[0]
    options = DATA2VEC if kind == "Data2VecAudio" else {}
    config = getattr(transformers, f"{kind}Config")(**{**SMALL, **options}, vocab_size=11, attn_implementation="eager")
    torch.manual_seed(0)
    whole = getattr(transformers, head)(config)
    randomise(whole)
    loaded = checkpoint.load(save(whole, tmp_path / "m", normalize=True))
    inner = getattr(whole, whole.base_model_prefix)
    assert compare(triples(loaded, inner, normalize=True, levels=LEVELS[:1])) == 8


@pytest.mark.parametrize("name", ["hubert-large", "wavlm-large", "data2vec-audio", "distilhubert", "hubert-batch-norm"])
def test_exported_again_transformers_gives_the_same(
    name: str, tmp_path: Path, randomise: Callable[[nn.Module], None], compare: Any
) -> None:
    loaded = checkpoint.load(save(make(name, randomise), tmp_path / "m", normalize=True))
    assert huggingface.why_not_transformers(loaded.encoder) is None
    huggingface.write(loaded.encoder, tmp_path / "again", metadata={}, card="# x\n")
    theirs, info = transformers.AutoModel.from_pretrained(
        tmp_path / "again", output_loading_info=True, attn_implementation="eager"
    )
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    n_states = len(loaded.encoder.layers) + 1
    assert compare(triples(loaded, theirs.eval(), normalize=True)) == 6 * n_states
    assert checkpoint.load(tmp_path / "again").sha256 == loaded.sha256


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("distilhubert", "no LayerNorm before the projection"),
        ("hubert-batch-norm", "no weight normalisation"),
        ("data2vec-audio", "no weight normalisation"),
        ("hubert-large", "normalises waveforms with epsilon 1e-07, DPHuBERT with 1e-05"),
    ],
)
def test_dphuberts_format_refuses_what_it_cannot_say(
    name: str, reason: str, tmp_path: Path, randomise: Callable[[nn.Module], None]
) -> None:
    loaded = checkpoint.load(save(make(name, randomise), tmp_path / "m", normalize=True))
    with pytest.raises(CheckpointError, match=f"cannot hold this model: .*{reason}.*Use --format safetensors"):
        dphubert.write(loaded.encoder, tmp_path / "m.pth", metadata={})
    assert not (tmp_path / "m.pth").exists()


@pytest.mark.parametrize("name", ["data2vec-audio", "distilhubert", "hubert-batch-norm", "hubert-large"])
def test_our_own_file_keeps_it(name: str, tmp_path: Path, randomise: Callable[[nn.Module], None]) -> None:
    loaded = checkpoint.load(save(make(name, randomise), tmp_path / "m", normalize=True))
    saved = checkpoint.save(loaded.encoder, tmp_path / "m.safetensors", metadata={})
    again = checkpoint.load(tmp_path / "m.safetensors")
    assert saved == again.sha256 == loaded.sha256
    assert again.encoder.architecture == loaded.encoder.architecture
