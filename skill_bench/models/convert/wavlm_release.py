"""WavLM as Microsoft published it, a dict of ``cfg`` and ``model`` (s3prl's ``upstream/wavlm`` reads the same file)."""

from __future__ import annotations

from collections.abc import Mapping

from skill_bench.models.convert.shared.fairseq import convert_fairseq
from skill_bench.models.convert.shared.foreign import Converted, Source

NAME = "WavLM's own release (.pt with cfg and model)"


def recognises(source: Source) -> bool:
    """Whether it is a dict of a model and a configuration with WavLM's own keys."""
    config = source.content.get("cfg")
    return "model" in source.content and isinstance(config, Mapping) and "relative_position_embedding" in config


def convert(source: Source) -> Converted:
    """Architecture and tensors.

    Raises:
        CheckpointError: of this format, but not usable; says why.
    """
    content = source.content
    return convert_fairseq(content["cfg"], content["model"], normalize=None, name="model", source=str(source.path))
