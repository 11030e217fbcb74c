"""Linear CKA against a naive computation, and what it must not depend on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from skill_bench.compress.similarity import LinearCKA


def states(seed: int, *, n_layers: int = 4, n_frames: int = 50, dim: int = 6) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    first = torch.randn(n_frames, dim, generator=generator, dtype=torch.float64)
    found = [first]
    for _ in range(n_layers - 1):
        found.append(found[-1] + 0.7 * torch.randn(n_frames, dim, generator=generator, dtype=torch.float64))
    return found


def naive(layers: list[Tensor]) -> NDArray[np.float64]:
    centred = [x.numpy() - x.numpy().mean(0) for x in layers]

    def cka(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
        return float(np.linalg.norm(a.T @ b) ** 2 / (np.linalg.norm(a.T @ a) * np.linalg.norm(b.T @ b)))

    return np.array([[cka(a, b) for b in centred] for a in centred])


def measured(layers: list[Tensor], *, chunk: int = 50) -> NDArray[np.float64]:
    cka = LinearCKA(n_layers=len(layers), dim=layers[0].shape[1])
    for start in range(0, len(layers[0]), chunk):
        cka.update([x[start : start + chunk] for x in layers])
    return cka.similarity()


@given(seed=st.integers(0, 1000), chunk=st.integers(1, 50))
@settings(max_examples=20, deadline=None)
def test_one_pass_in_any_chunks_equals_the_definition(seed: int, chunk: int) -> None:
    layers = states(seed)
    np.testing.assert_allclose(measured(layers, chunk=chunk), naive(layers), rtol=1e-9)  # float64 throughout


@given(seed=st.integers(0, 1000), scale=st.floats(0.01, 100))
@settings(max_examples=20, deadline=None)
def test_rotation_scale_shift_and_frame_order_change_nothing(seed: int, scale: float) -> None:
    layers = states(seed)
    generator = torch.Generator().manual_seed(seed + 1)
    rotation = torch.linalg.qr(torch.randn(6, 6, generator=generator, dtype=torch.float64)).Q
    order = torch.randperm(50, generator=generator)
    changed = [scale * (x @ rotation)[order] + 1.0 for x in layers]
    np.testing.assert_allclose(measured(changed), measured(layers), rtol=1e-8)  # the shift costs a few digits


def test_a_layer_that_never_changes_is_an_error() -> None:
    layers = [*states(0), torch.zeros(50, 6, dtype=torch.float64)]
    with pytest.raises(ValueError, match=r"layers \[4\] do not vary"):
        measured(layers)


def test_too_few_frames_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least 2 frames"):
        LinearCKA(n_layers=2, dim=3).similarity()
