"""WavLM as Microsoft published it, a dict of ``cfg`` and ``model`` (s3prl's ``upstream/wavlm`` reads the same file)."""

from __future__ import annotations

from collections.abc import Mapping

from skill_bench.models.architecture import RelativePosition
from skill_bench.models.convert.shared.fairseq import convert_fairseq
from skill_bench.models.convert.shared.foreign import Converted, Source, require

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
    path, config = str(source.path), source.content["cfg"]
    require(config, {"relative_position_embedding": (True,), "gru_rel_pos": (True,)}, source=path)
    return convert_fairseq(
        config,
        source.content["model"],
        normalize=config.get("normalize", False),
        relative_position=RelativePosition(
            n_buckets=config.get("num_buckets", 320), max_distance=config.get("max_distance", 1280)
        ),
        source=path,
    )
