"""Training's fast path gives the numbers and the gradients of the plain one, for any shape and any gates."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_architectures import architectures, awake

from skill_bench.distillation.recipe import load_recipe
from skill_bench.models import factories
from skill_bench.models.architecture import Architecture
from skill_bench.models.cpu import rows
from skill_bench.models.cpu import training as lean
from skill_bench.models.cpu.plain import plain_path
from skill_bench.models.encoder import Encoder
from skill_bench.pruning.gates import Gates, each


def outcome(encoder: Encoder, gates: Gates | None, waves: torch.Tensor) -> dict[str, torch.Tensor]:
    """Hidden states, and the gradients of everything that is learnt."""
    modules = torch.nn.ModuleDict({"encoder": encoder, **({"gates": gates} if gates is not None else {})})
    modules.zero_grad(set_to_none=True)
    masks = None if gates is None else gates.masks(torch.Generator().manual_seed(0))
    states = list(encoder.walk(waves, masks))
    total = sum((state * torch.linspace(-1, 1, state.numel()).view_as(state)).sum() for state in states)
    assert isinstance(total, torch.Tensor)
    total.backward()  # type: ignore[no-untyped-call]
    found = {f"h{index}": state.detach() for index, state in enumerate(states)}
    return found | {name: p.grad for name, p in modules.named_parameters() if p.grad is not None}


def assert_same(encoder: Encoder, gates: Gates | None, waves: torch.Tensor, *, tolerance: float) -> None:
    fast = outcome(encoder, gates, waves)
    with plain_path():
        plain = outcome(encoder, gates, waves)
    assert fast.keys() == plain.keys()
    assert len(fast) > len(encoder.layers) + 10
    for name, expected in plain.items():
        if name.endswith("key.bias"):  # shifts all scores of a query alike, so that its gradient is rounding alone
            continue
        largest = float(expected.abs().max())
        torch.testing.assert_close(fast[name], expected, rtol=tolerance, atol=tolerance * max(largest, 1e-3), msg=name)


@settings(max_examples=25, deadline=None)
@given(
    shape=architectures(),
    n_samples=st.integers(400, 6000),
    batch=st.integers(1, 3),
    gated=st.booleans(),
    shut=st.booleans(),
    few_channels=st.sampled_from([1, 128]),
    seed=st.integers(0, 1000),
)
def test_states_and_gradients_equal_those_of_the_plain_path(
    shape: Architecture, n_samples: int, batch: int, gated: bool, shut: bool, few_channels: int, seed: int
) -> None:
    with torch.random.fork_rng(devices=[]), pytest.MonkeyPatch.context() as patch:
        patch.setattr(lean, "LONG_FRAMES", 1)
        patch.setattr(rows, "_FEW_CHANNELS", few_channels)
        torch.manual_seed(seed)
        options = load_recipe("skill").sparsity
        assert options
        whole = all(layer.heads and layer.ffn_dim for layer in shape.layers)
        gates = Gates(shape, options).double() if gated and whole else None
        if gates is not None and shut:
            for gate in (*each(gates.channels), *each(gates.heads), *each(gates.ffn)):
                gate.log_alpha.data[::2] = -20.0
        encoder = awake(Encoder(shape)).double().train()
        waves = 0.1 * torch.randn(batch, n_samples).double() + 0.05
        # In float64, since norms over two channels may amplify a float32 rounding a thousandfold.
        assert_same(encoder, gates, waves, tolerance=1e-6)


def test_full_width_layers() -> None:
    torch.manual_seed(0)
    shape = factories.architecture(
        channels=512, dim=768, n_layers=1, n_heads=12, ffn_dim=3072, relative_position=factories.WAVLM_POSITION
    )
    # Float32 sums of some thousand terms in another order.
    assert_same(awake(Encoder(shape)).train(), None, 0.1 * torch.randn(1, 16000), tolerance=1e-3)


def test_it_applies_to_full_precision_with_gradients_only() -> None:
    x = torch.ones(2)
    assert lean.applies(x)
    assert not lean.applies(x.bfloat16())
    assert not lean.applies(x.to("meta"))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not lean.applies(x)
    with torch.no_grad():
        assert not lean.applies(x)
    with plain_path():
        assert not lean.applies(x)


@pytest.mark.parametrize("kernel", [7, 8, 128])
@pytest.mark.parametrize("frames", [1, 5, 300])
def test_long_convolutions(kernel: int, frames: int) -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(2, 12, frames).double(), torch.randn(12, 4, kernel).double()
    bias = torch.randn(12).double()
    expected = torch.nn.functional.conv1d(x, weight, bias, padding=kernel // 2, groups=3)[..., :frames]
    torch.testing.assert_close(lean.convolve_long(x, weight, bias), expected, rtol=1e-9, atol=1e-9)
