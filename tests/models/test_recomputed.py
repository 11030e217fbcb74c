"""What is computed again on the way back changes no gradient, and is not kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_encoders import architectures, awake
from torch import Tensor

from skill_bench.distillation.recipe import load_recipe
from skill_bench.measure.memory import peak_on_cpu
from skill_bench.models import attention, factories, frontend, layer
from skill_bench.models.architecture import Architecture
from skill_bench.models.encoder import Encoder
from skill_bench.models.in_training import InTraining
from skill_bench.models.recomputed import recomputed
from skill_bench.pruning.gates import Gates

PLACES = (frontend, layer, attention)


def kept(function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
    return function(*inputs)


def outcome(encoder: Encoder, gates: Gates | None, waves: Tensor, seed: int = 0) -> dict[str, Tensor]:
    """Hidden states, and the gradients of everything that is learnt."""
    modules = torch.nn.ModuleDict({"encoder": encoder, **({"gates": gates} if gates is not None else {})})
    modules.zero_grad(set_to_none=True)
    masks = None if gates is None else gates.masks(torch.Generator().manual_seed(0))
    torch.manual_seed(seed)
    states = list(encoder.walk(waves, masks))
    total: Any = sum((state * torch.linspace(-1, 1, state.numel()).view_as(state)).sum() for state in states)
    total.backward()
    found = {f"h{index}": state.detach() for index, state in enumerate(states)}
    return found | {name: p.grad for name, p in modules.named_parameters() if p.grad is not None}


@settings(max_examples=15, deadline=None)
@given(
    shape=architectures(),
    n_samples=st.integers(400, 4000),
    gated=st.booleans(),
    rate=st.sampled_from([0.0, 0.3]),
    seed=st.integers(0, 1000),
)
def test_gradients_are_the_same_bits(shape: Architecture, n_samples: int, gated: bool, rate: float, seed: int) -> None:
    with torch.random.fork_rng(devices=[]), pytest.MonkeyPatch.context() as patch:
        torch.manual_seed(seed)
        options = load_recipe("skill").sparsity
        assert options
        whole = all(one.heads and one.ffn_dim for one in shape.layers)
        gates = Gates(shape, options) if gated and whole else None
        encoder = awake(Encoder(shape, in_training=InTraining(attention=rate, activation=rate))).train()
        waves = 0.1 * torch.randn(2, n_samples) + 0.05
        found = outcome(encoder, gates, waves, seed)
        for place in PLACES:
            patch.setattr(place, "recomputed", kept)
        expected = outcome(encoder, gates, waves, seed)
    assert found.keys() == expected.keys()
    assert len(found) > len(encoder.layers) + 10
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


@pytest.mark.parametrize(("place", "channels"), [(frontend, 32), (layer, 2), (attention, 2)])
def test_each_place_saves_memory(place: Any, channels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    shape = factories.architecture(
        channels=channels,
        dim=32,
        n_layers=4,
        n_heads=4,
        ffn_dim=256,
        position_kernel=8,
        position_groups=4,
        relative_position=factories.WAVLM_POSITION,
    )
    encoder, waves = Encoder(shape).train(), 0.1 * torch.randn(2, 64_000)
    with_it = peak_on_cpu(lambda: outcome(encoder, None, waves))
    monkeypatch.setattr(place, "recomputed", kept)
    assert with_it < 0.95 * peak_on_cpu(lambda: outcome(encoder, None, waves))


def test_without_gradients_nothing_is_computed_twice() -> None:
    calls = []

    def twice(x: Tensor) -> Tensor:
        calls.append(x)
        return 2 * x

    with torch.no_grad():
        recomputed(twice, torch.ones(1, requires_grad=True))
    assert len(calls) == 1


def test_a_linear_layer_at_the_end_is_computed_once() -> None:
    linear, x = torch.nn.Linear(3, 4), torch.ones(2, 3, requires_grad=True)
    ran: list[str] = []

    def function(x: Tensor) -> Tensor:
        ran.append("begin")
        found: Tensor = linear(x.exp())
        ran.append("end")
        return found

    recomputed(function, x).sum().backward()  # type: ignore[no-untyped-call]
    assert ran == ["begin", "end", "begin"]
