"""HuBERT and wav2vec 2.0 as s3prl converts them from fairseq (``convert.py`` of its upstreams hubert and wav2vec2)."""

from __future__ import annotations

from collections.abc import Mapping

from skill_bench.base.errors import CheckpointError
from skill_bench.models.convert.shared.fairseq import convert_fairseq
from skill_bench.models.convert.shared.foreign import Converted, Source, config_value

NAME = "s3prl's converted HuBERT and wav2vec 2.0 (.pt with task_cfg, model_cfg, model_weight)"

_KEYS = ("task_cfg", "model_cfg", "model_weight")


def recognises(source: Source) -> bool:
    """Whether it has the three parts that s3prl's converters write."""
    return all(key in source.content for key in _KEYS)


def convert(source: Source) -> Converted:
    """Architecture and tensors.

    Raises:
        CheckpointError: of this format, but not usable; says why.
    """
    path = str(source.path)
    for key in _KEYS:
        if not isinstance(source.content[key], Mapping):
            raise CheckpointError(f"{path}: {key} is a {type(source.content[key]).__name__}, expected a dict.")
    return convert_fairseq(
        source.content["model_cfg"],
        source.content["model_weight"],
        normalize=config_value(source.content["task_cfg"], "normalize", source=path),
        relative_position=None,
        source=path,
    )
