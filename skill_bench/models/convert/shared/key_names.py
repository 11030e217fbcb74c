"""Our parameter names in the two vocabularies that other projects use: torchaudio's and fairseq's."""

from __future__ import annotations

import re
from collections.abc import Callable

from skill_bench.models.architecture import ConvNorm, PositionNorm

Rename = Callable[[str], str]

MASK_EMBEDDINGS_AND_HEADS = (
    "mask_emb",
    "masked_spec_embed",
    r"mask_generator\..*",
    "label_embs_concat",
    r"logit_generator\..*",
    r"final_proj\..*",
    r"aux\.(weight|bias)",
    r".*\.num_batches_tracked",
)
"""Training-only parts that every reader may leave behind: they do not touch the hidden states."""


def torchaudio_names(
    *,
    transformer: str = "encoder.transformer",
    projection: str = "encoder.feature_projection",
    plain_convs: str = "conv",
) -> Rename:
    """Names of torchaudio.models.Wav2Vec2Model; transformers differs in the two prefixes alone.

    Args:
        plain_convs: positional convolutions without weight normalisation, which torchaudio does not have: ``conv``
            (HuBERT's one) or ``layers.\\1.conv`` (data2vec's).
    """
    return _rules(
        {
            r"front_end\.channel_scale": "feature_extractor.dummy_weight",
            r"front_end\.layers\.(\d+)\.conv": r"feature_extractor.conv_layers.\1.conv",
            r"front_end\.layers\.(\d+)\.norm": r"feature_extractor.conv_layers.\1.layer_norm",
            r"projection\.norm": f"{projection}.layer_norm",
            r"projection\.linear": f"{projection}.projection",
            r"position\.conv": f"{transformer}.pos_conv_embed.conv",
            r"position\.norm": f"{transformer}.pos_conv_embed.batch_norm",
            r"position\.convs\.(\d+)": rf"{transformer}.pos_conv_embed.{plain_convs}",
            r"norm": f"{transformer}.layer_norm",
            r"position_bias": f"{transformer}.layers.0.attention.rel_attn_embed",
            r"layers\.(\d+)\.attention\.gate\.linear": rf"{transformer}.layers.\1.attention.gru_rel_pos_linear",
            r"layers\.(\d+)\.attention\.gate\.scale": rf"{transformer}.layers.\1.attention.gru_rel_pos_const",
            r"layers\.(\d+)\.attention\.(q|k|v)(?:uery|ey|alue)": rf"{transformer}.layers.\1.attention.\2_proj",
            r"layers\.(\d+)\.attention\.out": rf"{transformer}.layers.\1.attention.out_proj",
            r"layers\.(\d+)\.attention_norm": rf"{transformer}.layers.\1.layer_norm",
            r"layers\.(\d+)\.feed_forward\.up": rf"{transformer}.layers.\1.feed_forward.intermediate_dense",
            r"layers\.(\d+)\.feed_forward\.down": rf"{transformer}.layers.\1.feed_forward.output_dense",
            r"layers\.(\d+)\.final_norm": rf"{transformer}.layers.\1.final_layer_norm",
        }
    )


def fairseq_names(conv_norm: ConvNorm, position_norm: PositionNorm) -> Rename:
    """Names of fairseq's HuBERT, wav2vec 2.0 and data2vec and of Microsoft's WavLM, which grew from them."""
    norm = "2" if conv_norm == "group_norm" else "2.1"
    # Behind a batch norm in one sequence, or each in a sequence of its own.
    plain = "encoder.pos_conv.1" if position_norm == "batch_norm" else r"encoder.pos_conv.\1.0"
    return _rules(
        {
            r"front_end\.layers\.(\d+)\.conv": r"feature_extractor.conv_layers.\1.0",
            r"front_end\.layers\.(\d+)\.norm": rf"feature_extractor.conv_layers.\1.{norm}",
            r"projection\.norm": "layer_norm",
            r"projection\.linear": "post_extract_proj",
            r"position\.conv": "encoder.pos_conv.0",
            r"position\.norm": "encoder.pos_conv.0",
            r"position\.convs\.(\d+)": plain,
            r"norm": "encoder.layer_norm",
            r"position_bias": "encoder.layers.0.self_attn.relative_attention_bias",
            r"layers\.(\d+)\.attention\.gate\.linear": r"encoder.layers.\1.self_attn.grep_linear",
            r"layers\.(\d+)\.attention\.gate\.scale": r"encoder.layers.\1.self_attn.grep_a",
            r"layers\.(\d+)\.attention\.(q|k|v)(?:uery|ey|alue)": r"encoder.layers.\1.self_attn.\2_proj",
            r"layers\.(\d+)\.attention\.out": r"encoder.layers.\1.self_attn.out_proj",
            r"layers\.(\d+)\.attention_norm": r"encoder.layers.\1.self_attn_layer_norm",
            r"layers\.(\d+)\.feed_forward\.up": r"encoder.layers.\1.fc1",
            r"layers\.(\d+)\.feed_forward\.down": r"encoder.layers.\1.fc2",
            r"layers\.(\d+)\.final_norm": r"encoder.layers.\1.final_layer_norm",
        }
    )


def _rules(rules: dict[str, str]) -> Rename:
    # A rule names a module or a parameter: it must match up to a dot or the end.
    compiled = [(re.compile(rf"{pattern}(?=\.|$)"), replacement) for pattern, replacement in rules.items()]

    def rename(ours: str) -> str:
        for pattern, replacement in compiled:
            if match := pattern.match(ours):
                return match.expand(replacement) + ours[match.end() :]
        raise KeyError(f"no rule for {ours!r}")

    return rename
