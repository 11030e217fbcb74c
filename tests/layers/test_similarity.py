"""Every measure of layer similarity against a naive computation, and what it must not depend on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from skill_bench.layers.measures import Measure, new_measure
from skill_bench.layers.measures.cka import LinearCKA
from skill_bench.layers.measures.mutual_knn import MutualNeighbours
from skill_bench.records.similarity import MEASURES, MeasureName

Matrix = NDArray[np.float64]
N_FRAMES, DIM = 50, 6


def states(seed: int, *, n_layers: int = 4) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    found = [torch.randn(N_FRAMES, DIM, generator=generator, dtype=torch.float64)]
    for _ in range(n_layers - 1):
        found.append(found[-1] + 0.7 * torch.randn(N_FRAMES, DIM, generator=generator, dtype=torch.float64))
    return found


def naive_cka(a: Matrix, b: Matrix) -> float:
    a, b = a - a.mean(0), b - b.mean(0)
    return float(np.linalg.norm(a.T @ b) ** 2 / (np.linalg.norm(a.T @ a) * np.linalg.norm(b.T @ b)))


def naive_cosine(a: Matrix, b: Matrix) -> float:
    return float(np.mean([x @ y / np.sqrt((x @ x) * (y @ y)) for x, y in zip(a, b, strict=True)]))


def naive_mutual_knn(a: Matrix, b: Matrix, k: int = 10) -> float:
    def near(frames: Matrix, i: int) -> set[int]:
        cosine = [x @ frames[i] / np.sqrt((x @ x) * (frames[i] @ frames[i])) for x in frames]
        return set(sorted((j for j in range(len(frames)) if j != i), key=lambda j: -cosine[j])[:k])

    return float(np.mean([len(near(a, i) & near(b, i)) / k for i in range(len(a))]))


def naive_whitened_cka(a: Matrix, b: Matrix) -> float:
    """Canonical correlations are the singular values between orthonormal bases."""
    bases = [np.linalg.qr(frames - frames.mean(0)).Q for frames in (a, b)]
    correlations = np.linalg.svd(bases[0].T @ bases[1], compute_uv=False)
    return float(np.mean(correlations**2))


NAIVE: dict[MeasureName, Callable[[Matrix, Matrix], float]] = {
    "cka": naive_cka,
    "cosine": naive_cosine,
    "mutual_knn": naive_mutual_knn,
    "whitened_cka": naive_whitened_cka,
}


def measured(name: MeasureName, layers: list[Tensor], *, chunk: int = N_FRAMES) -> Matrix:
    measure = new_measure(name, n_layers=len(layers), dim=layers[0].shape[1], seed=0)
    for start in range(0, len(layers[0]), chunk):
        measure.update([x[start : start + chunk] for x in layers])
    assert measure.n_frames == len(layers[0])
    return measure.similarity()


def rotation(seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    orthogonal: Tensor = torch.linalg.qr(torch.randn(DIM, DIM, generator=generator, dtype=torch.float64)).Q
    return orthogonal


def test_every_measure_has_a_naive_twin_here() -> None:
    assert set(NAIVE) == set(MEASURES)
    assert all(isinstance(new_measure(name, n_layers=2, dim=2, seed=0), Measure) for name in MEASURES)


@pytest.mark.parametrize("name", MEASURES)
@given(seed=st.integers(0, 1000), chunk=st.integers(1, N_FRAMES))
@settings(max_examples=10, deadline=None)
def test_one_pass_in_any_chunks_equals_the_definition(name: MeasureName, seed: int, chunk: int) -> None:
    layers = states(seed)
    expected = np.array([[NAIVE[name](a.numpy(), b.numpy()) for b in layers] for a in layers])
    # float64 throughout. Neighbours are counted: the sample is float32, but no two of 50 random cosines are so close.
    np.testing.assert_allclose(measured(name, layers, chunk=chunk), expected, rtol=1e-9)


def test_cka_keeps_its_digits_beside_a_large_offset() -> None:
    layers = [x + 1e4 for x in states(3)]
    expected = np.array([[naive_cka(a.numpy(), b.numpy()) for b in layers] for a in layers])
    np.testing.assert_allclose(measured("cka", layers, chunk=7), expected, rtol=1e-9)


@pytest.mark.parametrize("name", MEASURES)
@given(seed=st.integers(0, 1000), scale=st.floats(0.01, 100))
@settings(max_examples=15, deadline=None)
def test_rotation_scale_and_frame_order_change_nothing(name: MeasureName, seed: int, scale: float) -> None:
    layers = states(seed)
    order = torch.randperm(N_FRAMES, generator=torch.Generator().manual_seed(seed))
    # A rotation of every layer on its own leaves CKA and neighbours alone; directions are compared in one shared space.
    turns = [rotation(seed + 1 + (0 if name == "cosine" else number)) for number in range(len(layers))]
    changed = [
        (1 + number) * scale * (x @ turn)[order] for number, (x, turn) in enumerate(zip(layers, turns, strict=True))
    ]
    np.testing.assert_allclose(measured(name, changed), measured(name, layers), rtol=1e-9)


@pytest.mark.parametrize("name", ["cka", "whitened_cka"])
def test_a_shift_changes_nothing_for_cka(name: MeasureName) -> None:
    layers = states(1)
    np.testing.assert_allclose(measured(name, [x + 3.0 for x in layers]), measured(name, layers), rtol=1e-9)


def test_no_invertible_map_changes_whitened_cka() -> None:
    layers = states(1)
    maps = [rotation(number) @ torch.diag(torch.logspace(-2, 1, DIM, dtype=torch.float64)) for number in range(4)]
    changed = [x @ by for x, by in zip(layers, maps, strict=True)]
    assert measured("whitened_cka", layers)[0, 1:].max() < 0.95
    # Variances then differ by factors of 10^6, and float64 keeps 16 digits.
    np.testing.assert_allclose(measured("whitened_cka", changed), measured("whitened_cka", layers), rtol=1e-7)
    assert np.abs(measured("cka", changed) - measured("cka", layers)).max() > 0.05


def test_whitened_cka_sees_more_than_the_leading_direction() -> None:
    """Two layers share one large direction and nothing else: CKA calls them alike, whitened CKA a sixth."""
    generator = torch.Generator().manual_seed(0)
    layers = [torch.randn(5000, DIM, generator=generator, dtype=torch.float64) for _ in range(2)]
    layers[1][:, 0] = layers[0][:, 0]
    for layer in layers:
        layer[:, 0] *= 30
    assert measured("cka", layers, chunk=5000)[0, 1] > 0.999
    # Chance adds (DIM - 1)^2 / DIM directions of 1 / 5000 each.
    assert measured("whitened_cka", layers, chunk=5000)[0, 1] == pytest.approx(1 / DIM, abs=0.003)


def test_directions_that_do_not_vary_do_not_count() -> None:
    """As the one that a LayerNorm takes away: of two layers with 5 and 6 directions, sqrt(30) is the most."""
    layers = states(0, n_layers=2)
    flat = layers[0] - layers[0].mean(1, keepdim=True)
    found = measured("whitened_cka", [flat, layers[0]])
    assert found[0, 1] == pytest.approx(5 / 30**0.5, rel=1e-9)


def test_cosine_sees_the_rotation_of_one_layer() -> None:
    layers = states(1)
    changed = [layers[0] @ rotation(5), *layers[1:]]
    assert abs(measured("cosine", changed)[0, 1] - measured("cosine", layers)[0, 1]) > 0.1
    np.testing.assert_allclose(measured("cka", changed), measured("cka", layers), rtol=1e-9)


@pytest.mark.parametrize("name", MEASURES)
def test_symmetric_with_ones_on_the_diagonal(name: MeasureName) -> None:
    found = measured(name, states(2))
    assert np.array_equal(found, found.T)
    assert np.array_equal(found.diagonal(), np.ones(4))
    assert float(found.max()) == 1.0


def test_the_sample_of_neighbours_is_bounded_seeded_and_blind_to_chunks() -> None:
    frames = torch.arange(500.0)[:, None].expand(500, DIM).contiguous() + 1

    def sample(seed: int, chunk: int) -> list[float]:
        measure = MutualNeighbours(n_layers=1, dim=DIM, seed=seed, n_neighbours=3, max_frames=40)
        for start in range(0, 500, chunk):
            measure.update([frames[start : start + chunk]])
        assert len(measure._sample) == 40
        return sorted(measure._sample[:, 0, 0].tolist())

    whole = sample(0, 500)
    assert len(set(whole)) == 40
    assert sample(0, 500) == sample(0, 7) == sample(0, 1) == whole
    assert sample(1, 500) != whole
    # Drawn from everywhere, not only from the start.
    assert min(whole) < 100
    assert max(whole) > 400


def test_zero_vectors_have_no_direction_and_are_left_out() -> None:
    layers = states(0, n_layers=2)
    blanked = [layers[0].clone(), layers[1]]
    blanked[0][:10] = 0
    expected = naive_cosine(layers[0][10:].numpy(), layers[1][10:].numpy())
    assert measured("cosine", blanked)[0, 1] == pytest.approx(expected, rel=1e-9)
    with pytest.raises(ValueError, match=r"layers \[0, 1\] share no frame"):
        measured("cosine", [torch.zeros(N_FRAMES, DIM), layers[1]])


@pytest.mark.parametrize("name", ["cka", "whitened_cka"])
def test_a_layer_that_never_changes_is_an_error(name: MeasureName) -> None:
    with pytest.raises(ValueError, match=r"layers \[4\] do not vary"):
        measured(name, [*states(0), torch.zeros(N_FRAMES, DIM, dtype=torch.float64)])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cka", "at least 2 frames"),
        ("cosine", "at least 1 frame"),
        ("mutual_knn", "more than 10"),
        ("whitened_cka", "more frames than the 3 dimensions of a layer, .* found 0"),
    ],
)
def test_too_few_frames_is_an_error(name: MeasureName, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        new_measure(name, n_layers=2, dim=3, seed=0).similarity()


def test_memory_of_cka_does_not_grow_with_the_frames() -> None:
    cka = LinearCKA(n_layers=3, dim=4)
    held = [sum(t.numel() for t in cka._gram)]
    for _ in range(3):
        cka.update([torch.randn(100, 4)] * 3)
        held.append(sum(t.numel() for t in cka._gram))
    assert set(held) == {4 * 4 * 6}
