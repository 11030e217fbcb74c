"""Folders of transformers' HubertModel, WavLMModel and Wav2Vec2Model, with any head; transformers is not needed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from skill_bench.base.errors import CheckpointError
from skill_bench.models.architecture import Architecture, ConvNorm, ConvShape, LayerShape, RelativePosition
from skill_bench.models.convert.shared.foreign import (
    Converted,
    Source,
    config_value,
    modern_weight_norm,
    open_source,
    rename,
    require,
    without_prefix,
)
from skill_bench.models.convert.shared.key_names import MASK_EMBEDDINGS_AND_HEADS, torchaudio_names

NAME = "transformers folder (config.json and model.safetensors or pytorch_model.bin of hubert, wavlm, wav2vec2)"

MODEL_TYPES = ("hubert", "wavlm", "wav2vec2")
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
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
)
_SUPPORTED: dict[str, tuple[Any, ...]] = {
    "hidden_act": ("gelu",),
    "feat_extract_activation": ("gelu",),
    "feat_extract_norm": ("group", "layer"),
    "feat_proj_layer_norm": (True,),
    "conv_pos_batch_norm": (False,),
    "layer_norm_eps": (1e-5,),
    "add_adapter": (False,),
    "adapter_attn_dim": (None,),
}


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
    model_type = config.get("model_type")
    require(config, {"model_type": MODEL_TYPES}, source=path)
    require(config, _SUPPORTED, source=path)
    architecture = _architecture(config, _normalizes(source, config), path)
    tensors = without_prefix(modern_weight_norm(_weights(source)), (f"{model_type}.",), source=path)
    names = torchaudio_names(transformer="encoder", projection="feature_projection")
    may_drop = (*MASK_EMBEDDINGS_AND_HEADS, *_HEADS)
    said = config.get("skill_bench")  # what our own export adds
    return Converted(
        architecture=architecture,
        tensors=rename(tensors, architecture, names, source=path, may_drop=may_drop),
        metadata={str(key): str(value) for key, value in said.items()} if isinstance(said, Mapping) else {},
    )


def _weights(source: Source) -> Mapping[str, Tensor]:
    for name in WEIGHTS:
        if (source.path / name).is_file():
            return open_source(source.path / name).tensors
        index = source.json(f"{name}.index.json")
        if index is not None:
            shards = sorted(set(config_value(index, "weight_map", source=str(source.path / name)).values()))
            # Only names, never a path out of the folder.
            return {
                key: tensor
                for shard in shards
                for key, tensor in open_source(source.path / Path(shard).name).tensors.items()
            }
    raise CheckpointError(f"{source.path}: config.json without weights. Expected {' or '.join(WEIGHTS)} beside it.")


def _normalizes(source: Source, config: Mapping[str, Any]) -> bool:
    preprocessor = source.json("preprocessor_config.json")
    if preprocessor is not None and "do_normalize" in preprocessor:
        return bool(preprocessor["do_normalize"])
    if config.get("feat_extract_norm", "group") == "group":
        return False  # a group norm over time undoes scale and offset anyway
    raise CheckpointError(
        f"{source.path}: whether the waveform must be normalised is not stated, and it changes the features. "
        'Add preprocessor_config.json with {"do_normalize": true} (true for the published large models).'
    )


def _architecture(config: Mapping[str, Any], normalize: bool, path: str) -> Architecture:
    def value(key: str) -> Any:
        return config_value(config, key, source=path)

    dim, n_heads = value("hidden_size"), value("num_attention_heads")
    conv_norm: ConvNorm = "group_norm" if config.get("feat_extract_norm", "group") == "group" else "layer_norm"
    relative = None
    if config["model_type"] == "wavlm":
        relative = RelativePosition(
            n_buckets=config.get("num_buckets", 320), max_distance=config.get("max_bucket_distance", 800)
        )
    layer = LayerShape(heads=tuple(range(n_heads)), ffn_dim=value("intermediate_size"))
    return Architecture(
        convs=tuple(
            ConvShape(channels=c, kernel=k, stride=s)
            for c, k, s in zip(value("conv_dim"), value("conv_kernel"), value("conv_stride"), strict=True)
        ),
        conv_bias=config.get("conv_bias", False),
        conv_norm=conv_norm,
        dim=dim,
        n_heads=n_heads,
        head_dim=dim // n_heads,
        layers=(layer,) * value("num_hidden_layers"),
        position_kernel=config.get("num_conv_pos_embeddings", 128),
        position_groups=config.get("num_conv_pos_embedding_groups", 16),
        layer_norm_first=config.get("do_stable_layer_norm", False),
        normalize_waveform=normalize,
        relative_position=relative,
    )
