"""How large a model is, and what one utterance takes of memory while its hidden states are computed."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from skill_bench.models.architecture import Architecture

_WEIGHTS = ((".safetensors",), (".pt", ".pth", ".ckpt", ".bin"))
"""Suffixes of files with weights; where a folder has the first, the others hold the same again."""
_FLOAT_BYTES = 4


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


def utterance_bytes(architecture: Architecture, n_samples: int) -> int:
    """On a CPU (`skill_bench.models.runtime`), at least: the larger of what two parts of the encoder hold.

    The front end: what leaves and what enters the norm or GELU of its first convolution. The layers: all states, a
    position bias for every head that is left anywhere, and two matrices (frames, frames) of the head at work.
    """
    first, n_frames = architecture.convs[0], architecture.n_frames(n_samples)
    front_end = 2 * first.channels * max(0, (n_samples - first.kernel) // first.stride + 1)
    heads = {head for layer in architecture.layers for head in layer.heads}
    n_biases = 0 if architecture.relative_position is None else len(heads)
    layers = (len(architecture.layers) + 1) * n_frames * architecture.dim + (n_biases + 2) * n_frames**2
    return _FLOAT_BYTES * max(front_end, layers)
