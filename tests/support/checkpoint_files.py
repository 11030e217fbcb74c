"""Small checkpoints of every format that can be read, as parts that a test may change before they are written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as to_safetensors
from torch import Tensor

from skill_bench.models import checkpoint
from skill_bench.models.architecture import Architecture
from skill_bench.models.convert.shared.key_names import fairseq_names
from skill_bench.models.encoder import Encoder
from skill_bench.models.export import dphubert, huggingface
from skill_bench.models.factories import WAVLM_POSITION, architecture

Parts = dict[str, dict[str, Any]]
"""By name of a file: what is in it. Dicts with ``.json`` in their name are written as JSON, others by torch."""


def encoder(*, wavlm: bool, large: bool = False) -> Encoder:
    shape = architecture(
        channels=8, dim=16, n_layers=2, n_heads=2, ffn_dim=12, large=large, position_kernel=8, position_groups=4,
        relative_position=WAVLM_POSITION if wavlm else None,
    )  # fmt: skip
    torch.manual_seed(0)
    return Encoder(shape).requires_grad_(False)


def fairseq_config(shape: Architecture) -> dict[str, Any]:
    config: dict[str, Any] = {
        "extractor_mode": "layer_norm" if shape.conv_norm == "layer_norm" else "default",
        "conv_feature_layers": "[(8,10,5)] + [(8,3,2)] * 4 + [(8,2,2)] * 2",
        "conv_bias": False,
        "encoder_embed_dim": shape.dim,
        "encoder_layers": len(shape.layers),
        "encoder_attention_heads": shape.n_heads,
        "encoder_ffn_embed_dim": 12,
        "conv_pos": 8,
        "conv_pos_groups": 4,
        "layer_norm_first": shape.layer_norm_first,
        "activation_fn": "gelu",
        "normalize": False,
    }
    if shape.relative_position is not None:
        config |= {"relative_position_embedding": True, "gru_rel_pos": True, "num_buckets": 320, "max_distance": 800}
    return config


def fairseq_state(model: Encoder) -> dict[str, Tensor]:
    name = fairseq_names(model.architecture.conv_norm, "weight_norm")
    return {name(key): tensor.clone() for key, tensor in model.state_dict().items()}


def as_torchaudio() -> Parts:
    state = dphubert.content(encoder(wavlm=True))["state_dict"]
    return {"model.pt": {key: tensor for key, tensor in state.items() if not key.endswith("dummy_weight")}}


def as_dphubert(*, wavlm: bool) -> Parts:
    content = dphubert.content(encoder(wavlm=wavlm))
    content["config"] = json.loads(json.dumps(content["config"]))
    return {"model.pth": content}


def as_release() -> Parts:
    model = encoder(wavlm=True)
    return {"model.pt": {"cfg": fairseq_config(model.architecture), "model": fairseq_state(model)}}


def as_s3prl() -> Parts:
    model = encoder(wavlm=False, large=True)
    parts = {"task_cfg": {"normalize": True}, "model_cfg": fairseq_config(model.architecture)}
    return {"model.pt": {**parts, "model_weight": fairseq_state(model)}}


def as_fairseq() -> Parts:
    model = encoder(wavlm=False)
    config = {"model": fairseq_config(model.architecture), "task": {"normalize": False}}
    return {"model.pt": {"cfg": config, "model": fairseq_state(model), "args": None}}


def as_transformers(*, wavlm: bool) -> Parts:
    model = encoder(wavlm=wavlm)
    return {
        "config.json": json.loads(json.dumps(huggingface._transformers_config(model.architecture))),
        "preprocessor_config.json": {"do_normalize": True, "feature_size": 1},
        "pytorch_model.bin": dict(huggingface._transformers_tensors(model)),
    }


def as_own() -> Parts:
    model = encoder(wavlm=True)
    header = {"format": "skill-bench", "version": "1", "architecture": {}}
    header["architecture"] = json.loads(checkpoint._architecture_json(model.architecture))
    return {"model.safetensors": {"header": header, "tensors": dict(model.state_dict())}}


FAMILIES: dict[str, Callable[[], Parts]] = {
    "torchaudio": as_torchaudio,
    "dphubert hubert": lambda: as_dphubert(wavlm=False),
    "dphubert wavlm": lambda: as_dphubert(wavlm=True),
    "wavlm release": as_release,
    "s3prl": as_s3prl,
    "fairseq": as_fairseq,
    "transformers hubert": lambda: as_transformers(wavlm=False),
    "transformers wavlm": lambda: as_transformers(wavlm=True),
    "own": as_own,
}


def write(parts: Parts, folder: Path) -> Path:
    """The checkpoint as its program writes it; what that program could not write is written as a pickle is."""
    folder.mkdir(parents=True)
    for name, content in parts.items():
        path = folder / name
        if path.suffix == ".json":
            path.write_text(json.dumps(content, default=repr), encoding="utf-8", errors="replace")
        elif path.suffix == ".safetensors":
            header = content.get("header")
            strings = {
                str(key): value if isinstance(value, str) else json.dumps(value, default=repr)
                for key, value in (header.items() if isinstance(header, dict) else ())
            }
            path.write_bytes(to_safetensors(content["tensors"], metadata=strings))
        else:
            torch.save(content, path)
    return folder if len(parts) > 1 else folder / next(iter(parts))
