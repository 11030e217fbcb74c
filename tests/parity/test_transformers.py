"""Encoder and converter against transformers' HubertModel, WavLMModel and Wav2Vec2Model, component by component."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn

from skill_bench.models import checkpoint, factories
from skill_bench.models.encoder import Encoder

CLASSES = {
    "hubert": (transformers.HubertConfig, transformers.HubertModel),
    "wavlm": (transformers.WavLMConfig, transformers.WavLMModel),
    "wav2vec2": (transformers.Wav2Vec2Config, transformers.Wav2Vec2Model),
}
SMALL = {
    "hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 40, "conv_dim": [24] * 7,
    "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4, "num_buckets": 32, "max_bucket_distance": 20,
}  # fmt: skip
BASE: dict[str, Any] = {}
LARGE_STYLE = {"feat_extract_norm": "layer", "do_stable_layer_norm": True}


def make(kind: str, **options: Any) -> Any:
    config_class, model_class = CLASSES[kind]
    torch.manual_seed(0)
    return model_class(config_class(**options, attn_implementation="eager"))


def save(model: Any, folder: Path, *, normalize: bool) -> Path:
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps({"do_normalize": normalize}))
    return folder


def hidden_states(model: Any, output: Any) -> list[Tensor]:
    """As transformers 4 and s3prl list them: transformers 5 gives pre-norm models' last one before the final norm."""
    if not model.config.do_stable_layer_norm:
        return list(output.hidden_states)
    with torch.no_grad():
        return [*output.hidden_states[:-1], model.encoder.layer_norm(output.hidden_states[-1])]


def components(
    ours: Encoder, theirs: nn.Module, waves: Tensor, *, normalize: bool
) -> Iterator[tuple[str, Tensor, Tensor]]:
    kept: dict[str, Tensor] = {}
    for name in ("feature_extractor", "feature_projection"):
        module = theirs.get_submodule(name)
        module.register_forward_hook(
            lambda _, __, out, name=name: kept.update({name: out[0] if isinstance(out, tuple) else out})
        )
    # As transformers' own feature extractor does.
    given = torch.nn.functional.layer_norm(waves, waves.shape[1:], eps=1e-7) if normalize else waves
    with torch.no_grad():
        expected = theirs(given, output_hidden_states=True)
        frames, _ = ours.frames(waves)
        states, counts = ours(waves)
    yield "front end", frames, kept["feature_extractor"].transpose(1, 2)
    yield "feature projection", ours.projection(frames), kept["feature_projection"]
    assert counts.tolist() == [states[0].shape[1]] * len(waves)
    for index, (mine, reference) in enumerate(zip(states, hidden_states(theirs, expected), strict=True)):
        yield f"h{index}", mine, reference
    yield "last hidden state", states[-1], expected.last_hidden_state


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize(
    ("style", "normalize"),
    [
        ({}, False),
        ({"conv_bias": True}, True),
        (LARGE_STYLE, True),
        ({**LARGE_STYLE, "conv_bias": True}, True),
        ({"do_stable_layer_norm": True}, False),
        ({"feat_extract_norm": "layer"}, False),
    ],
    ids=["base", "base-conv-bias", "large", "large-conv-bias", "pre-norm-alone", "layer-norm-front-end-alone"],
)
def test_small(
    kind: str,
    style: dict[str, Any],
    normalize: bool,
    tmp_path: Path,
    waves: Tensor,
    randomise: Callable[[nn.Module], None],
    compare: Any,
) -> None:
    theirs = make(kind, **SMALL, **style)
    randomise(theirs)
    loaded = checkpoint.load(save(theirs, tmp_path / "model", normalize=normalize))
    assert loaded.format == "transformers_folder"
    assert loaded.encoder.architecture.family == ("wavlm" if kind == "wavlm" else "hubert")
    assert compare(components(loaded.encoder, theirs, waves, normalize=normalize)) == 7


@pytest.mark.parametrize(
    ("kind", "style", "n_parameters"),
    [
        ("hubert", BASE, 94_370_944),
        ("wav2vec2", BASE, 94_370_944),
        ("wavlm", {**BASE, "num_buckets": 320, "max_bucket_distance": 800}, 94_381_168),
        # Two of the 24 layers: a layer is like the next, and memory is not.
        ("hubert", {**LARGE_STYLE, "hidden_size": 1024, "num_hidden_layers": 2, "num_attention_heads": 16,
                    "intermediate_size": 4096, "conv_bias": True}, None),
        ("wavlm", {**LARGE_STYLE, "hidden_size": 1024, "num_hidden_layers": 2, "num_attention_heads": 16,
                   "intermediate_size": 4096, "num_buckets": 320, "max_bucket_distance": 800}, None),
    ],
    ids=["hubert-base", "wav2vec2-base", "wavlm-base", "hubert-large", "wavlm-large"],
)  # fmt: skip
def test_true_size(
    kind: str,
    style: dict[str, Any],
    n_parameters: int | None,
    tmp_path: Path,
    waves: Tensor,
    randomise: Callable[[nn.Module], None],
    compare: Any,
) -> None:
    large = "feat_extract_norm" in style
    theirs = make(kind, **style)
    randomise(theirs)
    folder = save(theirs, tmp_path / "model", normalize=large)
    ours = checkpoint.load(folder).encoder
    (folder / "model.safetensors").unlink()
    n_layers = style.get("num_hidden_layers", 12)
    assert compare(components(ours, theirs, waves[:1], normalize=large)) == n_layers + 4
    if n_parameters is not None:
        assert sum(parameter.numel() for parameter in ours.parameters()) == n_parameters


@pytest.mark.parametrize(
    ("make_encoder", "count"), [(factories.hubert_base, 94_370_944), (factories.wavlm_base, 94_381_168)]
)
def test_named_sizes_have_the_published_counts(make_encoder: Callable[[], Encoder], count: int) -> None:
    with torch.device("meta"):
        assert sum(parameter.numel() for parameter in make_encoder().parameters()) == count


@pytest.mark.parametrize("kind", CLASSES)
def test_padded_batch_of_a_layer_norm_model(
    kind: str, tmp_path: Path, waves: Tensor, randomise: Callable[[nn.Module], None], compare: Any
) -> None:
    """transformers masks padding for these models, with exact lengths; group-norm models it cannot."""
    theirs = make(kind, **SMALL, **LARGE_STYLE)
    randomise(theirs)
    ours = checkpoint.load(save(theirs, tmp_path / "model", normalize=False)).encoder
    lengths = torch.tensor([11234, 7000])
    mask = (torch.arange(11234) < lengths[:, None]).long()
    with torch.no_grad():
        expected = hidden_states(theirs, theirs(waves * mask, attention_mask=mask, output_hidden_states=True))
        states, counts = ours(waves * mask, lengths)
    short = int(counts[1])
    assert counts.tolist() == [34, 21]
    triples = [
        (f"h{i}, padded utterance", mine[1, :short], reference[1, :short])
        for i, (mine, reference) in enumerate(zip(states, expected, strict=True))
    ]
    assert compare(triples) == 4


HEADS = {
    "hubert": ["HubertForCTC", "HubertForSequenceClassification"],
    "wavlm": ["WavLMForCTC", "WavLMForXVector", "WavLMForAudioFrameClassification"],
    "wav2vec2": ["Wav2Vec2ForPreTraining", "Wav2Vec2ForCTC"],
}


@pytest.mark.parametrize(("kind", "head"), [(kind, head) for kind, heads in HEADS.items() for head in heads])
@pytest.mark.parametrize("weights", ["safetensors", "bin", "sharded"])
def test_heads_and_files(
    kind: str,
    head: str,
    weights: str,
    tmp_path: Path,
    waves: Tensor,
    randomise: Callable[[nn.Module], None],
    compare: Any,
) -> None:
    torch.manual_seed(0)
    whole = getattr(transformers, head)(CLASSES[kind][0](**SMALL, vocab_size=11, attn_implementation="eager"))
    randomise(whole)
    folder = tmp_path / "model"
    whole.save_pretrained(folder, max_shard_size="40KB" if weights == "sharded" else "1GB")
    assert (folder / "model.safetensors.index.json").is_file() == (weights == "sharded")
    if weights == "bin":
        (folder / "model.safetensors").unlink()
        # As transformers before 4.30 wrote it: names of the old weight norm.
        state = {
            key.replace("parametrizations.weight.original0", "weight_g").replace(
                "parametrizations.weight.original1", "weight_v"
            ): value
            for key, value in whole.state_dict().items()
        }
        torch.save(state, folder / "pytorch_model.bin")
    ours = checkpoint.load(folder).encoder
    assert compare(components(ours, getattr(whole, whole.base_model_prefix), waves, normalize=False)) == 7
