"""Small models of torchaudio and s3prl, from a configuration and random weights."""

from __future__ import annotations

from typing import Any

import torch
import torchaudio
from s3prl.upstream.hubert.hubert_model import HubertConfig, HubertModel, HubertPretrainingConfig
from s3prl.upstream.wavlm.WavLM import WavLM, WavLMConfig
from torch import nn

SMALL = {
    "encoder_layers": 3, "encoder_embed_dim": 48, "encoder_ffn_embed_dim": 40, "encoder_attention_heads": 4,
    "conv_feature_layers": "[(24,10,5)] + [(24,3,2)] * 4 + [(24,2,2)] * 2", "conv_pos": 16, "conv_pos_groups": 4,
    "encoder_layerdrop": 0.0,
}  # fmt: skip
WAVLM = {"relative_position_embedding": True, "gru_rel_pos": True, "num_buckets": 32, "max_distance": 20}
LARGE = {"extractor_mode": "layer_norm", "layer_norm_first": True}
KERNELS = [(10, 5), (3, 2), (3, 2), (3, 2), (3, 2), (2, 2), (2, 2)]


def small(*, wavlm: bool, large: bool, conv_bias: bool = False, aux: int | None = None, **changes: Any) -> Any:
    """The public factories' arguments with few layers and channels.

    HuBERT keeps a published width: its number of heads is not in a state dict, so it follows from the width.
    """
    options: dict[str, Any] = {
        "extractor_mode": "layer_norm" if large else "group_norm",
        "extractor_conv_layer_config": [(24, kernel, stride) for kernel, stride in KERNELS],
        "extractor_conv_bias": conv_bias, "encoder_projection_dropout": 0.0, "encoder_pos_conv_kernel": 16,
        "encoder_pos_conv_groups": 4, "encoder_num_layers": 3, "encoder_attention_dropout": 0.0,
        "encoder_ff_interm_features": 40, "encoder_ff_interm_dropout": 0.0, "encoder_dropout": 0.0,
        "encoder_layer_norm_first": large, "encoder_layer_drop": 0.0, "aux_num_out": aux,
    }  # fmt: skip
    if wavlm:
        extra = {
            "encoder_embed_dim": 48,
            "encoder_num_heads": 4,
            "encoder_num_buckets": 320,
            "encoder_max_distance": 800,
        }
        return torchaudio.models.wavlm_model(**{**options, **extra, **changes})
    return torchaudio.models.wav2vec2_model(**{**options, "encoder_embed_dim": 768, "encoder_num_heads": 12, **changes})


def make_wavlm(**options: Any) -> tuple[dict[str, Any], nn.Module]:
    config = {**SMALL, **WAVLM, **options}
    torch.manual_seed(0)
    return config, WavLM(WavLMConfig(config))


def make_hubert(**options: Any) -> tuple[dict[str, Any], nn.Module]:
    config = {**SMALL, "label_rate": 50.0, "final_dim": 8, **options}
    torch.manual_seed(0)
    return config, HubertModel(HubertConfig(**config), HubertPretrainingConfig(), [["a", "b", "c"]])
