"""fairseq's own checkpoints of wav2vec 2.0, HuBERT, data2vec and WavLM, with plain dicts for configurations.

Three forms: ``model`` and ``cfg`` with ``model`` and ``task`` (since 2020), ``model`` and ``args`` (before), and what
is left of either where objects of its classes were replaced: ``state_dict`` and ``config``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from skill_bench.models.convert.shared.fairseq import convert_fairseq
from skill_bench.models.convert.shared.foreign import Converted, Source
from skill_bench.models.convert.shared.schema import FairseqTask, read_config

NAME = "fairseq (.pt with model and cfg or args, or with state_dict and config, all plain dicts)"

_MARKS = ("encoder_layers", "encoder_embed_dim", "conv_feature_layers", "encoder_attention_heads")
_DPHUBERT = "encoder_use_attention"


def recognises(source: Source) -> bool:
    """Whether it has weights and a configuration of fairseq's; WavLM's release has a reader of its own."""
    return _parts(source.content) is not None


def convert(source: Source) -> Converted:
    """Architecture and tensors.

    Raises:
        CheckpointError: of this format, but not usable; says why.
    """
    parts = _parts(source.content)
    assert parts is not None
    name, config = parts
    path = str(source.path)
    model, task = config, config
    if isinstance(config.get("model"), Mapping):
        model, task = config["model"], config.get("task") or {}
    normalize = read_config(FairseqTask, task, source=path, name="its task configuration").normalize
    return convert_fairseq(model, source.content[name], normalize=normalize, name=name, source=path)


def _parts(content: Mapping[Any, Any]) -> tuple[str, Mapping[Any, Any]] | None:
    """The name of the weights and the configuration."""
    for name, keys in (("model", ("cfg", "args")), ("state_dict", ("config", "cfg", "args"))):
        for key in keys if name in content else ():
            config = content.get(key)
            if not isinstance(config, Mapping) or (key == "cfg" and "relative_position_embedding" in config):
                continue
            model = config.get("model", config)
            if isinstance(model, Mapping) and any(mark in model for mark in _MARKS) and _DPHUBERT not in model:
                return name, config
    return None
