"""``hf:ORG/MODEL``: checkpoints from the Hugging Face hub, for machines with a network."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from skill_bench.base.errors import CheckpointError, MissingExtra, UsageError
from skill_bench.upstream.interface import Upstream

PREFIX = "hf:"
_CONFIGURATION = ["config.json", "preprocessor_config.json", "processor_config.json"]
_SAFE = ["*.safetensors", "*.safetensors.index.json"]
_PICKLED = ["pytorch_model*.bin", "pytorch_model.bin.index.json"]
_WEIGHTS = ("*.safetensors", "pytorch_model*.bin")


def load(name: str, ckpt: str | Path | None = None, **options: Any) -> Upstream:
    """The model of a repository, as the upstream ``name``.

    Raises:
        UsageError: not ``hf:ORG/MODEL`` or ``hf:ORG/MODEL@REVISION``, or given together with ``ckpt``.
        CheckpointError: it cannot be fetched, or not be read.
    """
    match = re.fullmatch(rf"{PREFIX}([\w.-]+/[\w.-]+)(?:@([\w./-]+))?", name)
    if match is None:
        raise UsageError(f"{name!r}: expected hf:ORG/MODEL or hf:ORG/MODEL@REVISION.")
    if ckpt is not None or options:
        given = ", ".join(["ckpt"] if ckpt is not None else sorted(options))
        raise UsageError(f"{name!r} names its own weights: leave out {given}.")
    from skill_bench.upstream.expert import from_checkpoint

    return from_checkpoint(name.removeprefix(PREFIX).replace("/", "--"), fetch(match[1], match[2]))


def fetch(repository: str, revision: str | None = None) -> Path:
    """The local folder of a repository's configuration and weights; pickled weights only where there are no others.

    huggingface_hub keeps it in its cache, and with ``HF_HUB_OFFLINE=1`` looks nowhere else.

    Raises:
        CheckpointError: neither in the cache nor to be had.
    """
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise MissingExtra("huggingface_hub", extra="transformers", purpose=f"hf:{repository}") from error
    try:
        folder = Path(snapshot_download(repository, revision=revision, allow_patterns=[*_CONFIGURATION, *_SAFE]))
        if not any(folder.glob(_WEIGHTS[0])):
            patterns = [*_CONFIGURATION, *_PICKLED]
            folder = Path(snapshot_download(repository, revision=revision, allow_patterns=patterns))
    except Exception as error:  # network, permission, name: huggingface_hub has a dozen exceptions for them
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CheckpointError(
            f"hf:{repository}: cannot be fetched ({type(error).__name__}: {reason}). Check the name and the network; "
            "without one, copy the repository's folder here and give it with --ckpt FOLDER. "
            "HF_HUB_OFFLINE=1 uses what an earlier run has fetched."
        ) from error
    if not any(path for pattern in _WEIGHTS for path in folder.glob(pattern)):
        raise CheckpointError(f"hf:{repository}: holds no weights. Expected {' or '.join(_WEIGHTS)}.")
    return folder
