"""All measurements of one model, as the record ``Profile``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypedDict, TypeVar

import torch
from torch import nn

from skill_bench.base import provenance
from skill_bench.base.errors import SkillBenchError
from skill_bench.measure.macs import CHALLENGE_LENGTHS_SAMPLES, challenge_macs, count_parameters
from skill_bench.measure.memory import measure_memory
from skill_bench.measure.throughput import Encode, disk_bytes, measure_cold_start, measure_throughput
from skill_bench.records.profile import NOT_ASKED, Memory, Parameters, Profile, Throughput
from skill_bench.records.record import System

Part = TypeVar("Part")


class Size(TypedDict):
    """One batch, and where it is encoded."""

    batch_size: int
    utterance_seconds: float
    device: torch.device
    dtype: torch.dtype


def profile(
    module: nn.Module,
    *,
    encode: Encode | None = None,
    system: System,
    load: Callable[[], nn.Module] | None = None,
    timed: bool = True,
    batch_size: int = 1,
    utterance_seconds: float = 10.0,
    n_repeats: int = 5,
    lengths_samples: tuple[int, ...] = CHALLENGE_LENGTHS_SAMPLES,
) -> Profile:
    """Parameters and multiply-adds of ``module``, and, if ``timed``, its throughput and peak memory where it is now.

    Args:
        module: an upstream (anything with ``hidden_states(waves)``), or any module together with ``encode``.
        encode: encodes a list of waveforms (samples,) with ``module``; its ``hidden_states`` by default, or, where
            operations and allocations are counted, which only torch's can be, its ``hidden_states_by_torch``.
        system: what the module is; goes into the record as it is.
        load: loads ``module`` afresh; given, its file and a cold start are measured too.
        timed: False leaves out what depends on the machine.

    A part that cannot be measured is absent from the profile, with the reason; the others are measured all the same.
    """
    written_down: nn.Module = getattr(module, "written_down", lambda: module)()
    counted = encode or getattr(written_down, "hidden_states_by_torch", None) or _hidden_states(written_down)
    encode = encode or _hidden_states(module)
    started_at = provenance.now()
    first = next((tensor for tensor in module.parameters()), None)
    device = torch.device("cpu") if first is None else first.device
    dtype = torch.float32 if first is None else first.dtype
    size = Size(batch_size=batch_size, utterance_seconds=utterance_seconds, device=device, dtype=dtype)
    reasons: dict[str, str] = {}

    def attempt(name: str, measure: Callable[[], Part], wanted: bool = True) -> Part | None:
        if not wanted:
            reasons[name] = NOT_ASKED
            return None
        try:
            return measure()
        except SkillBenchError as error:
            reasons[name] = str(error)
        except (NotImplementedError, torch.OutOfMemoryError) as error:
            reasons[name] = f"{type(error).__name__}: {error}"
        return None

    was_training = module.training
    module.eval()
    try:
        return Profile(
            system=system,
            parameters=_parameters(module, written_down),
            macs=attempt(
                "macs",
                lambda: challenge_macs(
                    lambda wave: counted([wave]), lengths_samples=lengths_samples, device=device, dtype=dtype
                ),
            ),
            throughput=attempt("throughput", lambda: _throughput(encode, n_repeats, size, system), timed),
            memory=attempt("memory", lambda: _memory(module, written_down, counted, size), timed),
            disk_bytes=None if load is None else attempt("disk_bytes", lambda: disk_bytes(module)),
            cold_start=None if load is None else attempt("cold_start", lambda: measure_cold_start(load, device), timed),
            reasons=reasons,
            provenance=provenance.collect(started_at=started_at),
        )
    finally:
        module.train(was_training)


def _parameters(module: nn.Module, written_down: nn.Module) -> Parameters:
    found = count_parameters(written_down)
    if written_down is module:
        return found
    return found.model_copy(update={"n_bytes": disk_bytes(module)})  # as another runtime keeps them


def _throughput(encode: Encode, n_repeats: int, size: Size, system: System) -> Throughput:
    """In the precision that it is computed in, where that is not the waves'."""
    found = measure_throughput(encode, n_repeats=n_repeats, **size)
    precision = system.details.get("graph_precision") or system.details.get("computed_in")
    return found if precision is None else found.model_copy(update={"dtype": precision})


def _memory(module: nn.Module, written_down: nn.Module, encode: Encode, size: Size) -> Memory:
    if written_down is not module:
        raise SkillBenchError("only what torch allocates is seen, and another runtime computes this model")
    return measure_memory(module, encode, **size)


def _hidden_states(module: nn.Module) -> Encode:
    encode = getattr(module, "hidden_states", None)
    if encode is None:
        raise TypeError(f"{type(module).__name__} has no hidden_states(waves): pass encode")
    return encode  # type: ignore[no-any-return]
