"""Dropout and gradient factors: where each acts, and that none acts at evaluation."""

from __future__ import annotations

import pytest
import torch
from small_models import small_teacher
from torch import Tensor

from skill_bench.models import checkpoint
from skill_bench.models.architecture import Architecture
from skill_bench.models.cpu import inference
from skill_bench.models.encoder import Encoder
from skill_bench.models.in_training import InTraining

WAVES = 0.1 * torch.randn(2, 8000, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    return checkpoint.load(small_teacher(tmp_path_factory.mktemp("m") / "teacher.safetensors")).encoder


def like(whole: Encoder, in_training: InTraining, shape: Architecture | None = None) -> Encoder:
    made = Encoder(shape or whole.architecture, in_training=in_training)
    made.load_state_dict(whole.state_dict())
    return made


PLACES = ("residual", "projection", "attention", "activation")


@pytest.mark.parametrize("place", PLACES)
def test_each_dropout_acts_in_training_alone(place: str, whole: Encoder) -> None:
    encoder = like(whole, InTraining(**{place: 0.5}))
    without = like(whole, InTraining())
    for encoder_now in (encoder.train(), without.train()):
        torch.manual_seed(1)
        encoder_now.last = list(encoder_now.walk(WAVES))[-1]
    assert (encoder.last - without.last).abs().max() > 1e-3  # type: ignore[operator]
    torch.testing.assert_close(list(encoder.eval().walk(WAVES)), list(whole.eval().walk(WAVES)))


def test_attention_dropout_is_unbiased_in_both_ways_of_computing(whole: Encoder) -> None:
    layer = like(whole, InTraining(attention=0.2)).train().layers[0]
    x, bias = torch.randn(1, 20, 32), torch.randn(4, 20, 20)
    expected = whole.layers[0].attention(x, bias, None)  # type: ignore[operator]
    for grad in (True, False):
        with torch.set_grad_enabled(grad):
            mean = torch.stack([layer.attention(x, bias, None).detach() for _ in range(2000)]).mean(0)  # type: ignore[operator]
        assert (mean - expected).abs().max() < 0.02 * max(
            1.0, expected.abs().max().item()
        )  # 4 errors of a mean of 2000


@pytest.mark.parametrize("factor", [0.1, 1.0])
def test_the_front_ends_gradient_is_scaled_and_nothing_else(factor: float, whole: Encoder) -> None:
    gradients = {}
    for mult in (1.0, factor):
        encoder = like(whole, InTraining(feature_grad_mult=mult)).train()
        sum(state.sum() for state in list(encoder.walk(WAVES))[1:]).backward()  # type: ignore[union-attr]
        gradients[mult] = {name: p.grad for name, p in encoder.named_parameters() if p.grad is not None}
    assert any(name.startswith("front_end") for name in gradients[1.0])
    for name, gradient in gradients[1.0].items():
        share = factor if name.startswith("front_end") else 1.0
        torch.testing.assert_close(gradients[factor][name], share * gradient, rtol=1e-4, atol=1e-4)


def test_layer_zero_may_be_the_projection(whole: Encoder) -> None:
    whole.eval()
    with torch.no_grad():
        frames, _ = whole.frames(WAVES)
        plain = list(whole.walk(WAVES))
        for walk in (whole.walk, lambda waves, **named: inference.walk(whole, waves, **named)):
            states: list[Tensor] = list(walk(WAVES, layer_zero="projection"))
            torch.testing.assert_close(states[0], whole.projection(frames), rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(states[1:], plain[1:], rtol=1e-4, atol=1e-5)
            assert (states[0] - plain[0]).abs().max() > 1e-2
