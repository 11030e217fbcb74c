"""DiariZen's published diarisation models (github.com/BUTSpeechFIT/DiariZen): the pruned WavLM inside them.

A flat state dict whose WavLM lies under ``wavlm_model.``, with a Conformer and a classifier behind it, which are left
out. Which heads each layer keeps is in no file: DiariZen's code has it for its two published models (its
``diarizen/models/module/wavlm_config.py``, commit a60b181), and :data:`PUBLISHED` repeats those numbers. Of other
shapes, whole models are read and pruned ones refused; the file of its ``apply_pruning.py`` (``state_dict`` and
``config``) is read as DPHuBERT's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from skill_bench.base.errors import CheckpointError
from skill_bench.models.architecture import Architecture
from skill_bench.models.convert.shared.foreign import Converted, Source
from skill_bench.models.convert.shared.key_names import MASK_EMBEDDINGS_AND_HEADS, torchaudio_names
from skill_bench.models.convert.shared.tensors import build_architecture, modern_weight_norm, rename
from skill_bench.models.convert.torchaudio_state import infer_architecture
from skill_bench.models.factories import KERNELS_AND_STRIDES, WAVLM_POSITION

NAME = "DiariZen's diarisation models (.bin with a pruned WavLM under wavlm_model.)"

_PREFIX = "wavlm_model."
_MARK = f"{_PREFIX}encoder.feature_projection.projection.weight"
_LAYER = "encoder.transformer.layers.{}"

PUBLISHED: dict[str, dict[str, Any]] = {
    "wavlm_base_s80_md": {
        "dim": 768,
        "n_heads": 12,
        "channels": (90, 161, 173, 181, 351, 155, 137),
        "ffn": (666, 660, 649, 1080, 237, 299, 437, 573, 53, 80, 211, 334),
        "heads": (
            (1, 6), (5, 7, 8), (0, 3, 9), (0, 1, 4, 8, 11), (6, 8), (0,), (7, 8, 10, 11), (0, 1, 4, 8), (), (),
            (4, 7), (5,),
        ),
    },
    "wavlm_large_s80_md": {
        "dim": 1024,
        "n_heads": 16,
        "channels": (512, 153, 224, 255, 302, 368, 211),
        "ffn": (
            1092, 925, 759, 646, 745, 615, 684, 958, 286, 294, 406, 377, 463, 542, 298, 236, 96, 104, 134, 211, 473,
            1011, 1770, 1316,
        ),
        "heads": (
            (1, 2, 4, 5, 6), (9, 10, 14), (0, 1, 2, 4, 5, 7), (1, 4, 7, 12, 13, 14), (0, 2, 3, 4, 13),
            (1, 7, 13, 14, 15), (11, 13, 15), (2, 3, 4, 8, 15), (2, 5, 6, 15), (), (0, 1), (1, 3, 5, 12), (),
            (4, 7, 11), (6, 9), (11,), (), (), (14,), (5, 15), (0, 2, 8, 11, 13, 15), (0, 1, 3, 4, 5, 6, 7, 10, 13),
            (0, 1, 3, 6, 7, 9, 10, 11, 12, 14), (1, 2, 3, 4, 7, 13, 14, 15),
        ),
    },
}  # fmt: skip


def recognises(source: Source) -> bool:
    """Whether it has DiariZen's WavLM."""
    return _MARK in source.content


def convert(source: Source) -> Converted:
    """Architecture and tensors.

    Raises:
        CheckpointError: of this format, but not usable; says why.
    """
    path = str(source.path)
    tensors = {
        key.removeprefix(_PREFIX): value
        for key, value in source.content.items()
        if isinstance(key, str) and key.startswith(_PREFIX)
    }
    tensors = modern_weight_norm(tensors)
    architecture, metadata = _architecture(tensors, path)
    return Converted(
        architecture=architecture,
        tensors=rename(tensors, architecture, torchaudio_names(), source=path, may_drop=MASK_EMBEDDINGS_AND_HEADS),
        metadata=metadata,
        notes=("the diarisation model behind WavLM is left out",),
    )


def _architecture(tensors: Mapping[str, Any], path: str) -> tuple[Architecture, dict[str, str]]:
    shapes = {key: tuple(value.shape) for key, value in tensors.items() if isinstance(value, Tensor)}
    for name, model in PUBLISHED.items():
        if _has_shape(shapes, model):
            return published_architecture(name, path), {"title": f"DiariZen {name}"}
    try:
        return infer_architecture({key: tensors[key] for key in shapes}, path), {}
    except CheckpointError as error:
        raise CheckpointError(
            f"{path}: a WavLM of DiariZen that is neither whole nor in a published shape ({', '.join(PUBLISHED)}), "
            "and which heads it keeps is not in the file. Give the file that apply_pruning.py wrote, with state_dict "
            "and config."
        ) from error


def _has_shape(shapes: Mapping[str, tuple[int, ...]], model: Mapping[str, Any]) -> bool:
    width = model["dim"] // model["n_heads"]
    expected = {f"feature_extractor.conv_layers.{i}.conv.weight": n for i, n in enumerate(model["channels"])}
    for index, (heads, ffn) in enumerate(zip(model["heads"], model["ffn"], strict=True)):
        layer = _LAYER.format(index)
        expected[f"{layer}.feed_forward.intermediate_dense.weight"] = ffn
        if heads:
            expected[f"{layer}.attention.q_proj.weight"] = len(heads) * width
    return all(shapes.get(key, ())[:1] == (n,) for key, n in expected.items())


def published_architecture(name: str, source: str) -> Architecture:
    """The shape of one of :data:`PUBLISHED`."""
    model = PUBLISHED[name]
    large = model["dim"] == 1024
    return build_architecture(
        source,
        convs=[
            {"channels": n, "kernel": kernel, "stride": stride}
            for n, (kernel, stride) in zip(model["channels"], KERNELS_AND_STRIDES, strict=True)
        ],
        conv_bias=False,
        conv_norm="layer_norm" if large else "group_norm",
        channel_scale=True,
        dim=model["dim"],
        n_heads=model["n_heads"],
        head_dim=model["dim"] // model["n_heads"],
        layers=[{"heads": heads, "ffn_dim": ffn} for heads, ffn in zip(model["heads"], model["ffn"], strict=True)],
        layer_norm_first=large,
        normalize_waveform=large,
        relative_position=WAVLM_POSITION,
    )
