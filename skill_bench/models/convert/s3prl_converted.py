"""HuBERT and wav2vec 2.0 as s3prl converts them from fairseq (``convert.py`` of its upstreams hubert and wav2vec2)."""

from __future__ import annotations

from skill_bench.models.convert.shared.fairseq import convert_fairseq
from skill_bench.models.convert.shared.foreign import Converted, Source
from skill_bench.models.convert.shared.schema import StatedTask, read_config

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
    content, path = source.content, str(source.path)
    task = read_config(StatedTask, content["task_cfg"], source=path, name="task_cfg")
    weights = content["model_weight"]
    return convert_fairseq(content["model_cfg"], weights, normalize=task.normalize, name="model_weight", source=path)
