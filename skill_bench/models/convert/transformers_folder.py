"""Folders of transformers' speech encoders (wav2vec 2.0 and its family), with any head; transformers is not needed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from skill_bench.base.errors import CheckpointError
from skill_bench.models.architecture import Architecture
from skill_bench.models.convert.shared.foreign import Converted, Source, open_source
from skill_bench.models.convert.shared.key_names import MASK_EMBEDDINGS_AND_HEADS, torchaudio_names
from skill_bench.models.convert.shared.schema import (
    Data2VecConfig,
    FeatureExtractorConfig,
    SpeechConfig,
    TransformersConfig,
    read_config,
)
from skill_bench.models.convert.shared.tensors import (
    build_architecture,
    modern_weight_norm,
    rename,
    state_dict,
    without_wrappers,
)

NAME = (
    "transformers folder (config.json and model.safetensors or pytorch_model.bin of hubert, wavlm, wav2vec2, "
    "unispeech, unispeech-sat, data2vec-audio)"
)

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
EPSILON = 1e-7
"""Added to the variance by ``Wav2Vec2FeatureExtractor.zero_mean_unit_var_norm`` of transformers."""
_ADAPTER = r"adapter\..*"
_HEADS = (
    r"lm_head\..*",
    r"classifier\..*",
    r"projector\..*",
    r"layer_weights",
    r"quantizer\..*",
    r"project_(hid|q)\..*",
    r"objective\..*",
    r"feature_extractor\.(weight|bias)",
    r"tdnn\..*",
    r"ctc_proj\..*",
    r"speaker_proj\..*",
    r"label_embeddings_concat",
    r"layer_norm_for_extract\..*",
)


def recognises(source: Source) -> bool:
    """Whether it is a folder with a config.json."""
    return source.is_folder and (source.path / "config.json").is_file()


def convert(source: Source) -> Converted:
    """Architecture and tensors.

    Raises:
        CheckpointError: of this format, but not usable; says why.
    """
    path, config = str(source.path), source.json("config.json")
    assert config is not None
    is_data2vec = config.get("model_type") == "data2vec-audio"
    found = read_config(Data2VecConfig if is_data2vec else SpeechConfig, config, source=path)
    notes: list[str] = []
    normalize = _normalizes(source, found, notes)
    architecture = _architecture(found, normalize, path)
    own = (f"{found.model_type.replace('-', '_')}.",)
    tensors, taken = without_wrappers(_weights(source), own=own, source=path)
    names = torchaudio_names(
        transformer="encoder",
        projection="feature_projection",
        plain_convs=r"layers.\1.conv" if is_data2vec else "conv",
    )
    may_drop = [*MASK_EMBEDDINGS_AND_HEADS, *_HEADS]
    # It comes behind the encoder: transformers' hidden_states are those without it, only last_hidden_state is not.
    if any(re.fullmatch(_ADAPTER, key) for key in tensors):
        may_drop.append(_ADAPTER)
        notes.append("the adapter behind the encoder is left out: hidden states do not depend on it")
    said = config.get("skill_bench")  # what our own export adds
    return Converted(
        architecture=architecture,
        tensors=rename(modern_weight_norm(tensors), architecture, names, source=path, may_drop=may_drop),
        metadata={str(k): v for k, v in said.items() if isinstance(v, str)} if isinstance(said, Mapping) else {},
        notes=(*taken, *notes),
    )


def _weights(source: Source) -> dict[str, Any]:
    for name in WEIGHTS:
        if (source.path / name).is_file():
            return state_dict(open_source(source.path / name).content, name=name, source=str(source.path))
        index = source.json(f"{name}.index.json")
        if index is not None:
            return _sharded(source, index, name)
    raise CheckpointError(f"{source.path}: config.json without weights. Expected {' or '.join(WEIGHTS)} beside it.")


def _sharded(source: Source, index: Mapping[str, Any], name: str) -> dict[str, Any]:
    where = f"{source.path / name}.index.json"
    places = index.get("weight_map")
    if not isinstance(places, Mapping) or not all(isinstance(shard, str) for shard in places.values()):
        raise CheckpointError(
            f"{where}: no 'weight_map' from names of weights to names of files. Get the folder again."
        )
    tensors: dict[str, Any] = {}
    # Only names, never a path out of the folder.
    for shard in sorted({Path(shard).name for shard in places.values()}):
        tensors |= state_dict(open_source(source.path / shard).content, name=shard, source=str(source.path))
    return tensors


def _normalizes(source: Source, config: TransformersConfig, notes: list[str]) -> bool:
    """As ``AutoFeatureExtractor`` finds it: processor_config.json (transformers 5), else preprocessor_config.json."""
    processor = source.json("processor_config.json") or {}
    stated = processor.get("feature_extractor", processor.get("audio_processor"))
    name = "processor_config.json"
    if stated is None:
        stated, name = source.json("preprocessor_config.json"), "preprocessor_config.json"
    if stated is not None:
        return read_config(FeatureExtractorConfig, stated, source=f"{source.path / name}").do_normalize
    if isinstance(config, SpeechConfig) and config.feat_extract_norm == "group":
        # A group norm over time undoes scale and offset, but for very quiet speech.
        notes.append("whether the waveform must be normalised is not stated: it is not")
        return False
    raise CheckpointError(
        f"{source.path}: whether the waveform must be normalised is not stated, and it changes the features. "
        'Add preprocessor_config.json with {"do_normalize": true} (true for the published large models).'
    )


def _architecture(config: TransformersConfig, normalize: bool, path: str) -> Architecture:
    lengths = [len(config.conv_dim), len(config.conv_kernel), len(config.conv_stride)]
    if len(set(lengths)) != 1:
        raise CheckpointError(
            f"{path}: conv_dim, conv_kernel and conv_stride describe {', '.join(map(str, lengths))} convolutions, "
            "expected one number. Get config.json again."
        )
    if config.hidden_size % config.num_attention_heads:
        raise CheckpointError(
            f"{path}: hidden_size = {config.hidden_size} is no multiple of num_attention_heads = "
            f"{config.num_attention_heads}. Get config.json again."
        )
    layer = {"heads": tuple(range(config.num_attention_heads)), "ffn_dim": config.intermediate_size}
    convs = zip(config.conv_dim, config.conv_kernel, config.conv_stride, strict=True)
    kind = _data2vec(config) if isinstance(config, Data2VecConfig) else _speech(config, path)
    return build_architecture(
        path,
        convs=[{"channels": c, "kernel": k, "stride": s} for c, k, s in convs],
        conv_bias=config.conv_bias,
        dim=config.hidden_size,
        n_heads=config.num_attention_heads,
        head_dim=config.hidden_size // config.num_attention_heads,
        layers=[layer] * config.num_hidden_layers,
        position_groups=config.num_conv_pos_embedding_groups,
        normalize_waveform=normalize,
        **({"normalize_eps": EPSILON} if normalize else {}),
        **kind,
    )


def _speech(config: TransformersConfig, path: str) -> dict[str, Any]:
    assert isinstance(config, SpeechConfig)
    is_hubert, is_wavlm = config.model_type == "hubert", config.model_type == "wavlm"
    if not is_wavlm and config.do_stable_layer_norm and config.adapter_attn_dim is not None:
        raise CheckpointError(
            f"{path}: adapter_attn_dim = {config.adapter_attn_dim} is not supported: adapters inside the layers change "
            "every hidden state. Take the model that they were added to."
        )
    return {
        "conv_norm": "group_norm" if config.feat_extract_norm == "group" else "layer_norm",
        # Other classes than HuBERT's have no such options and ignore them.
        "projection_norm": config.feat_proj_layer_norm or not is_hubert,
        "position_kernel": config.num_conv_pos_embeddings,
        "position_norm": "batch_norm" if is_hubert and config.conv_pos_batch_norm else "weight_norm",
        "layer_norm_first": config.do_stable_layer_norm,
        "relative_position": {"n_buckets": config.num_buckets, "max_distance": config.max_bucket_distance}
        if is_wavlm
        else None,
    }


def _data2vec(config: Data2VecConfig) -> dict[str, Any]:
    return {
        "conv_norm": "layer_norm",
        "position_kernel": config.conv_pos_kernel_size,
        "position_norm": "layer_norm",
        "position_depth": config.num_conv_pos_embeddings,
    }
