"""An upstream over any torch module: what an own ``expert.py`` needs beside the model itself."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from skill_bench.base.errors import CheckpointError, SpecError, UsageError
from skill_bench.base.hashed import digest
from skill_bench.base.sample_rate import SAMPLE_RATE_HZ
from skill_bench.models.size import bytes_on_disk, size_of
from skill_bench.records.record import System
from skill_bench.upstream.interface import CODE_VERSION, Upstream
from skill_bench.upstream.spec import NAME_DIGITS, read_spec


class ModuleUpstream(Upstream):
    """A module that sees one utterance at a time, so that no utterance depends on another.

    Args:
        module: Called with ``(1, samples)`` at 16 kHz, gives hidden states as a sequence of ``(1, frames, dim)``.
        downsample_rate: Samples from one frame to the next.
        min_samples: The shortest utterance that the module can take; a shorter one has 0 frames.
        system: Name, role and title; identity and sizes are filled in.
        code: What, beside the weights, decides the features: the source of the module.
    """

    def __init__(self, *, module: nn.Module, downsample_rate: int, min_samples: int, system: System, code: str) -> None:
        module = module.eval()
        with torch.no_grad():
            states = _states(module, torch.zeros(max(SAMPLE_RATE_HZ, min_samples)))
        weights = _hash(module)
        identity = digest(f"module {CODE_VERSION} {code} {weights}")
        super().__init__(
            system=system.model_copy(
                update={
                    "identity": identity,
                    "checkpoint_sha256": weights,
                    "n_parameters": size_of(module),
                    "n_hidden_states": len(states),
                }
            ),
            downsample_rate=downsample_rate,
            dim=states.shape[-1],
            layer_names=[f"h{index}" for index in range(len(states))],
        )
        self.module, self.min_samples = module, min_samples
        self._dtype: torch.dtype | None = None

    def hidden_states(self, waves: list[Float[Tensor, " samples"]]) -> list[Float[Tensor, "layers frames dim"]]:
        """See :meth:`Upstream.hidden_states`."""
        with self.gradients(), self._autocast():
            return [self._one(wave.to(self.device, torch.float32)) for wave in waves]

    def _compute_in(self, dtype: torch.dtype) -> bool:
        self._dtype = dtype
        return True

    def _autocast(self) -> AbstractContextManager[object]:
        """Of a module nothing is known but that torch runs it: its products are made in half precision, no weights."""
        return nullcontext() if self._dtype is None else torch.autocast(self.device.type, self._dtype)

    def _one(self, wave: Float[Tensor, " samples"]) -> Float[Tensor, "layers frames dim"]:
        if len(wave) < self.min_samples:
            return wave.new_empty(self.n_hidden_states, 0, self.dim)
        return _states(self.module, wave)


def make_module_expert(
    folder: Path,
    build: Callable[[Path | None], nn.Module],
    *,
    downsample_rate: int,
    min_samples: int = 400,
    ckpt: str | Path | None = None,
    **unknown: Any,
) -> ModuleUpstream:
    """The upstream of a folder with ``kind = "module"``.

    Args:
        folder: Of the upstream.
        build: Makes the module from a file of weights: ``ckpt``, else the folder's ``weights``, else None.
        ckpt: Other weights; the name then ends in the first digits of their hash.
        unknown: s3prl's ``model_config`` and ``refresh``, which must be None and False.

    Raises:
        SpecError: faulty ``upstream.toml``, or one of another kind.
        UsageError: an option that this upstream does not have.
        CheckpointError: the file of weights is missing.
    """
    spec = read_spec(folder)
    if spec.kind != "module":
        raise SpecError(f"{folder / 'upstream.toml'}: kind = {spec.kind!r}, but expert.py builds a module of its own.")
    if given := sorted(name for name, value in unknown.items() if value):
        raise UsageError(f"upstream {spec.name!r} has no option {', '.join(given)}, only ckpt.")
    weights = Path(ckpt) if ckpt is not None else None if spec.weights is None else folder / spec.weights
    if weights is not None and not weights.exists():
        raise CheckpointError(
            f"upstream {spec.name!r}: {weights} is missing. Put it there, or name another with --ckpt."
        )
    module, system = build(weights), spec.system()
    if ckpt is not None:
        system = system.model_copy(update={"name": f"{spec.name}-{_hash(module)[:NAME_DIGITS]}"})
    upstream = ModuleUpstream(
        module=module,
        downsample_rate=downsample_rate,
        min_samples=min_samples,
        system=system,
        code=inspect.getsource(inspect.getmodule(build) or build),
    )
    upstream.disk_bytes = None if weights is None else bytes_on_disk(weights)
    return upstream


def _states(module: nn.Module, wave: Float[Tensor, " samples"]) -> Float[Tensor, "layers frames dim"]:
    states: Sequence[Tensor] = module(wave[None])
    if not isinstance(states, list | tuple) or not all(isinstance(s, Tensor) and s.ndim == 3 for s in states):
        raise SpecError(
            f"{type(module).__name__}: gave {_described(states)} for a (1, {len(wave)}) waveform, expected a list of "
            "hidden states, each (1, frames, dim)."
        )
    if len({tuple(state.shape) for state in states}) != 1 or len(states[0]) != 1:
        raise SpecError(
            f"{type(module).__name__}: gave {_described(states)}, expected hidden states of one shape "
            "(1, frames, dim). Project or leave out those of another width or frame rate."
        )
    return torch.cat([state.float() for state in states])


def _described(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor {tuple(value.shape)}"
    if isinstance(value, list | tuple):
        return f"{type(value).__name__} of {', '.join(_described(one) for one in value[:4]) or 'nothing'}"
    return type(value).__name__


def _hash(module: nn.Module) -> str:
    found = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        found.update(f"\0{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        found.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()
