"""Frozen encoders in ONNX Runtime: the same bits in any company, and never those of other weights."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
import torch
from small_encoders import awake
from torch import Tensor

from skill_bench.measure.macs import count
from skill_bench.models import runtime
from skill_bench.models.architecture import RelativePosition
from skill_bench.models.encoder import Encoder
from skill_bench.models.factories import architecture
from skill_bench.models.runtime import Runtime, states_of

WAVES = [0.1 * torch.randn(n, generator=torch.Generator().manual_seed(n)) for n in (400, 5003, 32_000, 719, 16_000)]


@pytest.fixture
def encoder() -> Encoder:
    torch.manual_seed(0)
    bias = RelativePosition(n_buckets=32, max_distance=40)
    shape = architecture(
        channels=24, dim=32, n_layers=3, n_heads=4, ffn_dim=40, position_groups=4, relative_position=bias
    )
    return awake(Encoder(shape))


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    with torch.no_grad():
        yield
    torch.set_num_threads(before)


def by_torch(encoder: Encoder, wave: Tensor) -> Tensor:
    return torch.cat(encoder(wave[None])[0])


def assert_near(found: Tensor, expected: Tensor) -> None:
    # Sums of float32 in another order, behind norms that amplify them.
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))


def test_states_depend_neither_on_the_batch_nor_on_the_number_of_threads(encoder: Encoder) -> None:
    made = Runtime(encoder)
    torch.set_num_threads(1)
    alone = [made.hidden_states([wave])[0] for wave in WAVES]
    for n_threads in (1, 3):
        torch.set_num_threads(n_threads)
        for order in (range(5), (4, 2, 0, 1, 3)):
            found = made.hidden_states([WAVES[index] for index in order])
            for index, states in zip(order, found, strict=True):
                assert torch.equal(states, alone[index])
    for wave, states in zip(WAVES, alone, strict=True):
        assert_near(states, by_torch(encoder, wave))


def test_it_follows_the_weights(encoder: Encoder) -> None:
    made, other = Runtime(encoder), awake(copy.deepcopy(encoder))
    first = made.hidden_states(WAVES[1:2])[0]
    assert made._current() is made._current()
    encoder.load_state_dict(other.state_dict())
    second = made.hidden_states(WAVES[1:2])[0]
    assert (first - second).abs().max() > 0.1
    assert_near(second, by_torch(encoder, WAVES[1]))
    encoder.layers[0].feed_forward.up.bias.add_(1.0)  # type: ignore[union-attr, operator]
    assert not torch.equal(made.hidden_states(WAVES[1:2])[0], second)


def test_a_copy_is_a_runtime_of_its_own(encoder: Encoder) -> None:
    made = Runtime(encoder)
    states = made.hidden_states(WAVES[:1])[0]
    other = copy.deepcopy(made)
    encoder.norm.weight.add_(1.0)
    assert torch.equal(other.hidden_states(WAVES[:1])[0], states)


def test_inference_tensors_can_be_weights(encoder: Encoder) -> None:
    with torch.inference_mode():
        made = Runtime(copy.deepcopy(encoder))
        assert torch.equal(made.hidden_states(WAVES[:1])[0], Runtime(encoder).hidden_states(WAVES[:1])[0])


def test_when_it_applies(encoder: Encoder) -> None:
    assert runtime.applies(encoder)
    with torch.enable_grad():
        assert not runtime.applies(encoder)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not runtime.applies(encoder)
    assert not runtime.applies(encoder.train())
    assert not runtime.applies(encoder.eval().double())
    assert not runtime.applies(encoder.float().to("meta"))


def test_where_it_does_not_apply_torch_computes(encoder: Encoder) -> None:
    expected = by_torch(encoder.double(), WAVES[1].double())
    (found,) = states_of(encoder)([WAVES[1].double()])
    assert torch.equal(found, expected)


def test_what_it_computes_is_not_counted_as_nothing(encoder: Encoder) -> None:
    with pytest.raises(NotImplementedError, match=r"hides its matrix products.*hidden_states_by_torch"):
        count(lambda: Runtime(encoder).hidden_states(WAVES[:1]))
