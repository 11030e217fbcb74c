"""A new upstream folder that works at once: over a checkpoint, or over a torch module to be replaced by an own one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from skill_bench.base.documents import write_atomic
from skill_bench.base.errors import UsageError
from skill_bench.models import checkpoint, onnx_file
from skill_bench.upstream import graph
from skill_bench.upstream.spec import read_spec, role_of

HUBCONF = '''"""s3prl's entry point of this upstream."""

from typing import Any

from .expert import UpstreamExpert as _UpstreamExpert


def {name}(*args: Any, **kwargs: Any) -> Any:
    """``s3prl.hub.{name}(ckpt=...)``."""
    return _UpstreamExpert(*args, **kwargs)
'''
EXPERT_OF_CHECKPOINT = '''"""s3prl's expert: see upstream.toml for what it is."""

from functools import partial
from pathlib import Path

from skill_bench.upstream.expert import make_expert

UpstreamExpert = partial(make_expert, Path(__file__).parent)
'''
EXPERT_OF_MODULE = '''"""s3prl's expert: a torch module of our own. Replace Model and build; the rest may stay."""

from functools import partial
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from skill_bench.upstream.module import make_module_expert

DOWNSAMPLE_RATE = 320  # samples from one frame to the next
MIN_SAMPLES = 400  # shorter utterances have no frames


class Model(nn.Module):
    """Two layers over frames of 25 ms: an example, not a good model."""

    def __init__(self, dim: int = 64) -> None:
        super().__init__()
        self.frames = nn.Conv1d(1, dim, kernel_size=MIN_SAMPLES, stride=DOWNSAMPLE_RATE)
        self.layer = nn.Linear(dim, dim)

    def forward(self, wave: Tensor) -> list[Tensor]:
        """(1, samples) at 16 kHz -> hidden states, each (1, frames, dim)."""
        first = torch.relu(self.frames(wave[:, None])).transpose(1, 2)
        return [first, torch.relu(self.layer(first))]


def build(weights: Path | None) -> nn.Module:
    """The model with its weights: the file named in upstream.toml or by --ckpt; None without one."""
    if weights is None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return Model()
    model = Model()
    model.load_state_dict(load_file(weights))
    return model


UpstreamExpert = partial(
    make_module_expert, Path(__file__).parent, build, downsample_rate=DOWNSAMPLE_RATE, min_samples=MIN_SAMPLES
)
'''


def new_upstream(name: str, *, parent: Path, ckpt: Path | None = None, title: str | None = None) -> Path:
    """Makes the folder ``parent/name``: upstream.toml, expert.py, hubconf.py, and weights where a checkpoint is given.

    Args:
        ckpt: Checkpoint of any readable format, file or folder; it is stored as safetensors, with what it says of
            itself, which decides on role and teacher. A graph (.onnx) stays as it is.
        title: How tables call it; the name by default.

    Raises:
        UsageError: ``name`` cannot be one, or the folder is there already.
        CheckpointError: ``ckpt`` cannot be read.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise UsageError(
            f"{name!r} cannot be an upstream's name: expected a small letter, then small letters, digits and "
            "underscores, since it is a Python function in s3prl's hub."
        )
    folder = parent / name
    if folder.exists():
        raise UsageError(f"{folder} is there already. Choose another name, or delete it first.")
    said = {"name": name, "title": title or name, "kind": "module" if ckpt is None else "encoder"}
    metadata: Mapping[str, str] = {}
    if ckpt is None:
        said["description"] = "A torch module of our own."
    elif ckpt.suffix == graph.SUFFIX:
        stated = onnx_file.read(ckpt).stated
        metadata = stated.checkpoint
        said |= {"description": f"Read from {ckpt.name}, ONNX {stated.precision}.", "weights": f"{name}{graph.SUFFIX}"}
        write_atomic(folder / said["weights"], ckpt.read_bytes())
    else:
        loaded = checkpoint.load(ckpt)
        metadata = loaded.metadata
        said |= {"description": f"Read from {ckpt.name}, format {loaded.format}.", "weights": f"{name}.safetensors"}
        checkpoint.save(loaded.encoder, folder / said["weights"], metadata=loaded.metadata)
    said |= {"role": role_of(metadata)} | {key: value for key, value in metadata.items() if key == "teacher"}
    texts = {
        "upstream.toml": "".join(f"{key} = {_quoted(value)}\n" for key, value in said.items()),
        "expert.py": EXPERT_OF_MODULE if ckpt is None else EXPERT_OF_CHECKPOINT,
        "hubconf.py": HUBCONF.format(name=name),
    }
    for file, text in texts.items():
        write_atomic(folder / file, text.encode())
    read_spec(folder)
    return folder


def _quoted(text: str) -> str:
    """A TOML basic string."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(f"\\u{ord(c):04x}" if ord(c) < 32 or ord(c) == 127 else c for c in escaped) + '"'
