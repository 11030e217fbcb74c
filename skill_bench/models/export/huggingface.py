"""A folder as the Hugging Face hub keeps models: config.json, preprocessor_config.json, model.safetensors, README.md.

A whole model is written in transformers' own vocabulary, so that ``AutoModel.from_pretrained`` loads it. transformers
knows one number of heads and one feed-forward width for all layers, and no factor behind the front end, so a pruned
student is written as our self-describing file under ``model_type = "skill-bench"``, exact, at its small size, with
``modeling_skill_bench.py`` beside it: ``AutoModel.from_pretrained(FOLDER, trust_remote_code=True)`` runs that file and
needs no skill-bench.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as to_safetensors

from skill_bench.base.documents import write_atomic
from skill_bench.base.sample_rate import SAMPLE_RATE_HZ
from skill_bench.models import checkpoint
from skill_bench.models.architecture import Architecture
from skill_bench.models.convert.shared.foreign import OWN_MODEL_TYPE, WEIGHTS_FILE
from skill_bench.models.convert.shared.key_names import torchaudio_names
from skill_bench.models.convert.transformers_folder import EPSILON
from skill_bench.models.encoder import Encoder

CODE = Path(__file__).with_name("modeling_skill_bench.py")
"""What a folder holds beside weights of our own format: a module of its own, which nothing of skill-bench imports."""
_CLASSES = {"wavlm": "WavLMModel", "hubert": "HubertModel", "data2vec-audio": "Data2VecAudioModel"}


def write(encoder: Encoder, folder: Path, *, metadata: Mapping[str, str], card: str) -> list[Path]:
    """Writes the folder, weights first and config.json last: without it the folder is no model yet.

    Args:
        card: text of README.md.
    """
    shape, weights = encoder.architecture, folder / WEIGHTS_FILE
    written = [weights]
    if why_not_transformers(encoder) is None:
        config = _transformers_config(shape) | {"skill_bench": dict(metadata)}
        takes = {"do_normalize": shape.normalize_waveform, "return_attention_mask": shape.conv_norm == "layer_norm"}
        write_atomic(weights, to_safetensors(_transformers_tensors(encoder), metadata={"format": "pt"}))
    else:
        config = _own_config(shape)
        takes = {"do_normalize": False, "return_attention_mask": True}  # our code normalises, and unpads any model
        checkpoint.save(encoder, weights, metadata=metadata, for_transformers=True)
        written.append(write_atomic(folder / CODE.name, CODE.read_bytes()))
    preprocessor = {
        "feature_extractor_type": "Wav2Vec2FeatureExtractor",
        "feature_size": 1,
        "sampling_rate": SAMPLE_RATE_HZ,
        "padding_value": 0.0,
        **takes,
    }
    return [
        *written,
        write_atomic(folder / "README.md", card.encode()),
        write_atomic(folder / "preprocessor_config.json", _json(preprocessor)),
        write_atomic(folder / "config.json", _json(config)),
    ]


def why_not_transformers(encoder: Encoder) -> str | None:
    """What of this encoder transformers' HubertModel, WavLMModel and Data2VecAudioModel cannot hold; None if they can
    hold all."""
    shape = encoder.architecture
    if shape.normalize_waveform and shape.normalize_eps != EPSILON:
        return (
            f"it normalises waveforms with epsilon {shape.normalize_eps:g}, and transformers' feature extractor with "
            f"{EPSILON:g}, which differs for quiet speech"
        )
    if shape.position_norm == "layer_norm" and (
        shape.relative_position is not None
        or shape.conv_norm != "layer_norm"
        or shape.layer_norm_first
        or not shape.projection_norm
    ):
        return "its positional convolutions are data2vec's, and the rest is not"
    if shape.relative_position is not None and not (shape.projection_norm and shape.position_norm == "weight_norm"):
        return "WavLMModel has a LayerNorm before its projection, and weight normalisation in its positions"
    if any(layer.heads != tuple(range(shape.n_heads)) for layer in shape.layers):
        return "its layers keep different attention heads"
    if len({layer.ffn_dim for layer in shape.layers}) != 1 or not shape.layers[0].ffn_dim:
        return "its layers have different feed-forward widths"
    if shape.n_heads * shape.head_dim != shape.dim:
        return f"its {shape.n_heads} heads of {shape.head_dim} do not make up its width {shape.dim}"
    scale = encoder.front_end.channel_scale
    if scale is not None and not bool((scale == 1).all()):
        # A LayerNorm over channels follows, so the factors cannot move into any weight.
        return "it multiplies the front end's channels by factors"
    return None


def _own_config(shape: Architecture) -> dict[str, Any]:
    return {
        "model_type": OWN_MODEL_TYPE,
        "architectures": ["SkillBenchModel"],
        "auto_map": {"AutoConfig": f"{CODE.stem}.SkillBenchConfig", "AutoModel": f"{CODE.stem}.SkillBenchModel"},
        "hidden_size": shape.dim,
        "num_hidden_layers": len(shape.layers),
        "architecture": shape.to_dict(),
    }


def _transformers_config(shape: Architecture) -> dict[str, Any]:
    kind = "data2vec-audio" if shape.position_norm == "layer_norm" else shape.family
    config: dict[str, Any] = {
        "model_type": kind,
        "architectures": [_CLASSES[kind]],
        "hidden_size": shape.dim,
        "num_hidden_layers": len(shape.layers),
        "num_attention_heads": shape.n_heads,
        "intermediate_size": shape.layers[0].ffn_dim,
        "conv_dim": [conv.channels for conv in shape.convs],
        "conv_kernel": [conv.kernel for conv in shape.convs],
        "conv_stride": [conv.stride for conv in shape.convs],
        "num_feat_extract_layers": len(shape.convs),
        "conv_bias": shape.conv_bias,
        "num_conv_pos_embedding_groups": shape.position_groups,
        "layer_norm_eps": 1e-5,
        "hidden_act": "gelu",
        "feat_extract_activation": "gelu",
        # Masking is for training; without it transformers wants no mask embedding, which we do not keep.
        "mask_time_prob": 0.0,
        "mask_feature_prob": 0.0,
        "layerdrop": 0.0,
    }
    if kind == "data2vec-audio":
        return config | {
            "num_conv_pos_embeddings": shape.position_depth,
            "conv_pos_kernel_size": shape.position_kernel,
        }
    config |= {
        "feat_extract_norm": "group" if shape.conv_norm == "group_norm" else "layer",
        "do_stable_layer_norm": shape.layer_norm_first,
        "num_conv_pos_embeddings": shape.position_kernel,
    }
    if kind == "hubert":
        config |= {
            "feat_proj_layer_norm": shape.projection_norm,
            "conv_pos_batch_norm": shape.position_norm == "batch_norm",
        }
    if shape.relative_position is not None:
        config |= {
            "num_buckets": shape.relative_position.n_buckets,
            "max_bucket_distance": shape.relative_position.max_distance,
        }
    return config


def _transformers_tensors(encoder: Encoder) -> dict[str, torch.Tensor]:
    convs = r"layers.\1.conv" if encoder.architecture.position_norm == "layer_norm" else "conv"
    name = torchaudio_names(transformer="encoder", projection="feature_projection", plain_convs=convs)
    tensors = {}
    for ours, tensor in encoder.state_dict().items():
        if ours != "front_end.channel_scale":  # ones, see why_not_transformers
            whole = tensor.detach().to("cpu", torch.float32).contiguous()
            tensors[name(ours)] = whole.reshape(1, -1, 1, 1) if ours.endswith("attention.gate.scale") else whole
    if encoder.architecture.position_norm == "batch_norm":  # which transformers' module counts, and does not use
        tensors["encoder.pos_conv_embed.batch_norm.num_batches_tracked"] = torch.zeros((), dtype=torch.long)
    return tensors


def _json(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()
