"""An upstream over what a Python program has at hand: a torch module, or any function of a waveform."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from skill_bench.base.counted import counted
from skill_bench.base.errors import UsageError
from skill_bench.base.sample_rate import SAMPLE_RATE_HZ
from skill_bench.records.record import System
from skill_bench.upstream.module import ModuleUpstream
from skill_bench.upstream.spec import NAME_DIGITS

_STEP_SAMPLES = 2**9 * 3**2 * 5**2
"""A multiple of the usual frame shifts, so that so many more samples are a whole number of frames more."""
_PROBE_SAMPLES = (SAMPLE_RATE_HZ, SAMPLE_RATE_HZ // 2)


def upstream_of(
    model: nn.Module | Callable[..., Any],
    *,
    name: str | None = None,
    downsample_rate: int | None = None,
    min_samples: int = 400,
) -> ModuleUpstream:
    """The upstream over ``model``, which is called with one ``(1, samples)`` float32 waveform at 16 kHz.

    Its identity covers weights, source and what it gives for noise, so that a changed model is another system: features
    of one are never taken for another's. On another machine the same model may thus count as another one.

    Args:
        model: Gives a list of hidden states, each ``(1, frames, dim)`` or ``(frames, dim)``; one of them alone; or an
            object or mapping with ``hidden_states``, as transformers has. Tensors or arrays.
        name: What records call it; by default its class or function, with digits of its identity.
        downsample_rate: Samples from one frame to the next; by default found by two calls.
        min_samples: The shortest waveform it can take; a shorter one has 0 frames.

    Raises:
        SpecError: it gives no hidden states.
        UsageError: the frame shift cannot be told, or the same waveform gives other numbers when it is called again.
    """
    module = Model(model)
    called = getattr(model, "__name__", type(model).__name__)
    system = System(name=name or called, title=name or called, identity="")
    code = "\0".join([called, _source(model), _answers(module.eval())])
    upstream = ModuleUpstream(
        module=module,
        downsample_rate=downsample_rate or _frame_shift(module),
        min_samples=min_samples,
        system=system,
        code=code,
    )
    told: dict[str, Any] = {}
    if name is None:
        told["name"] = f"{called.strip('<>').lower()}-{upstream.identity[:NAME_DIGITS]}"
    if not isinstance(model, nn.Module):  # a function does not tell what weights it uses
        told |= {"n_parameters": None, "checkpoint_sha256": None}
    upstream.name = told.get("name", system.name)
    upstream._system = upstream.system().model_copy(update=told)
    return upstream


class Model(nn.Module):
    """Gives what `ModuleUpstream` takes."""

    def __init__(self, model: nn.Module | Callable[..., Any]) -> None:
        super().__init__()
        self.model = model

    def forward(self, wave: Tensor) -> Any:
        found = self.model(wave)
        found = found.get("hidden_states") if isinstance(found, Mapping) else getattr(found, "hidden_states", found)
        found = [found] if isinstance(found, Tensor | np.ndarray) else found
        return [_state(one) for one in found] if isinstance(found, list | tuple) else found


def _state(value: Any) -> Any:
    state = torch.as_tensor(value) if isinstance(value, np.ndarray) else value
    return state[None] if isinstance(state, Tensor) and state.ndim == 2 else state


def _source(model: nn.Module | Callable[..., Any]) -> str:
    try:
        return inspect.getsource(type(model) if isinstance(model, nn.Module) else model)
    except (OSError, TypeError):  # typed into a console, or compiled
        return ""


def _device(module: nn.Module) -> torch.device:
    return next((tensor.device for tensor in module.state_dict().values()), torch.device("cpu"))


@torch.no_grad()
def _answers(module: nn.Module) -> str:
    """A hash of the hidden states of some noise.

    Raises:
        UsageError: they differ from one call to the next.
    """
    noise = torch.Generator().manual_seed(0)
    waves = [torch.randn(1, n, generator=noise).to(_device(module)) for n in _PROBE_SAMPLES]
    first, second = ([_bytes(module(wave)) for wave in waves] for _ in range(2))
    if first != second:
        raise UsageError(
            "the model gives other hidden states when it is called again with the same waveform, but they are kept. "
            "Switch off what is random in it (dropout, masking)."
        )
    return hashlib.sha256(b"\0".join(first)).hexdigest()


def _tensors(states: Any) -> list[Tensor]:
    return [one for one in states if isinstance(one, Tensor) and one.ndim == 3] if isinstance(states, list) else []


def _bytes(states: Any) -> bytes:
    return b"".join(one.detach().float().cpu().contiguous().numpy().tobytes() for one in _tensors(states))


@torch.no_grad()
def _frame_shift(module: nn.Module) -> int:
    lengths = (SAMPLE_RATE_HZ, SAMPLE_RATE_HZ + _STEP_SAMPLES)
    found = [_tensors(module(torch.zeros(1, n, device=_device(module)))) for n in lengths]
    few, many = (states[0].shape[1] if states else 0 for states in found)
    if not few and not many:
        return 1  # no hidden states: whoever asks for them says what was found instead
    if many <= few or _STEP_SAMPLES % (many - few):
        raise UsageError(
            f"the frame shift cannot be told: {counted(few, 'frame')} of {lengths[0]} samples, {many} of {lengths[1]}. "
            "Say it with downsample_rate=, in samples."
        )
    return _STEP_SAMPLES // (many - few)
