"""How large a model is."""

from __future__ import annotations

from pathlib import Path

from torch import nn

_WEIGHTS = ((".safetensors",), (".pt", ".pth", ".ckpt", ".bin"))
"""Suffixes of files with weights; where a folder has the first, the others hold the same again."""


def size_of(module: nn.Module) -> int:
    """Numbers in the parameters of ``module``; one that is shared counts once."""
    return sum(parameter.numel() for parameter in module.parameters())


def bytes_on_disk(path: Path) -> int | None:
    """Of a checkpoint: the file, or the files with weights in a folder; None where it has none."""
    if path.is_file():
        return path.stat().st_size
    files = [file for file in path.iterdir() if file.is_file()] if path.is_dir() else []
    for suffixes in _WEIGHTS:
        if found := [file for file in files if file.suffix in suffixes]:
            return sum(file.stat().st_size for file in found)
    return None
