"""What parity tests share: weights that make every parameter matter, and a comparison that names what fails."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import pytest
import torch
from torch import Tensor, nn

# float32: two correct implementations differ by rounding in the order of sums, over up to 24 layers.
RTOL, ATOL = 1e-4, 1e-5

Compare = Callable[[Iterable[tuple[str, Tensor, Tensor]]], int]


@pytest.fixture
def randomise() -> Callable[[nn.Module], None]:
    """Moves every parameter away from initial ones and zeros, so that a mixed-up norm or bias shows."""

    def move(model: nn.Module) -> None:
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                noise = torch.randn(parameter.shape, generator=generator)
                if "rel_attn_embed" in name or "relative_attention_bias" in name:
                    parameter.copy_(noise)
                elif "conv_layers" in name and parameter.ndim == 3:
                    # He's scale: smaller weights would shrink the signal below the absolute tolerance.
                    parameter.copy_(noise * math.sqrt(2 / parameter[0].numel()))
                else:
                    parameter.add_((0.1 if parameter.squeeze().ndim <= 1 else 0.01) * noise)
        model.eval()

    return move


@pytest.fixture
def compare() -> Compare:
    """Compares (component, ours, theirs) in order and returns how many; the first wrong component is named."""

    def run(triples: Iterable[tuple[str, Tensor, Tensor]]) -> int:
        count = 0
        for name, ours, theirs in triples:
            assert theirs.std() > 0.05, f"{name}: the reference is constant, so nothing would be compared"

            def describe(message: str, name: str = name) -> str:
                return f"component {name!r}: {message}"

            torch.testing.assert_close(ours, theirs, rtol=RTOL, atol=ATOL, msg=describe)
            count += 1
        return count

    return run


@pytest.fixture
def waves() -> Tensor:
    """Two utterances of 0.7 s: noise with an offset and another loudness, which normalisation must undo."""
    generator = torch.Generator().manual_seed(2)
    return torch.randn(2, 11234, generator=generator) * torch.tensor([[0.1], [0.6]]) + torch.tensor([[0.05], [-0.2]])
