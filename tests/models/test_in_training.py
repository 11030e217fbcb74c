"""Dropout and gradient factors: where each acts, and that none acts at evaluation."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from small_models import small_teacher
from torch import Tensor

from skill_bench.models import checkpoint
from skill_bench.models.architecture import Architecture
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
    encoder, without = like(whole, InTraining(**{place: 0.5})), like(whole, InTraining())
    last = [list(each.train().walk(WAVES))[-1] for each in (encoder, without)]
    assert (last[0] - last[1]).abs().max() > 1e-3
    torch.testing.assert_close(list(encoder.eval().walk(WAVES)), list(without.eval().walk(WAVES)))


@pytest.mark.parametrize("grad", [True, False])
def test_attention_dropout_is_unbiased_with_and_without_gradients(grad: bool, whole: Encoder) -> None:
    torch.manual_seed(0)
    x, bias = torch.randn(1, 20, 32), torch.randn(4, 20, 20)
    dropping, plain = (like(whole, InTraining(attention=rate)).train() for rate in (0.2, 0.0))
    found: list[Any] = [encoder.layers[0].attention for encoder in (dropping, plain)]
    attend, expected = found
    with torch.set_grad_enabled(grad):
        drawn = torch.stack([attend(x, bias, None).detach() for _ in range(1000)])
        error = (drawn.mean(0) - expected(x, bias, None)).abs() / (drawn.std(0) / 1000**0.5)
    assert drawn.std(0).max() > 1e-3
    assert error.max() < 5  # standard errors, the largest of 640


@pytest.mark.parametrize("factor", [0.1, 0.5])
def test_the_front_ends_gradient_is_scaled_and_nothing_else(factor: float, whole: Encoder) -> None:
    gradients: dict[float, dict[str, Tensor]] = {}
    for mult in (1.0, factor):
        encoder = like(whole, InTraining(feature_grad_mult=mult)).train()
        loss: Any = torch.stack(list(encoder.walk(WAVES))[1:]).square().sum()
        loss.backward()
        gradients[mult] = {name: p.grad for name, p in encoder.named_parameters() if p.grad is not None}
    assert any(name.startswith("front_end") for name in gradients[1.0])
    for name, gradient in gradients[1.0].items():
        share = factor if name.startswith("front_end") else 1.0
        torch.testing.assert_close(gradients[factor][name], share * gradient, rtol=1e-3, atol=1e-3)


def test_layer_zero_may_be_the_projection(whole: Encoder) -> None:
    whole.eval()
    with torch.no_grad():
        frames, _ = whole.frames(WAVES)
        plain = list(whole.walk(WAVES))
        states = list(whole.walk(WAVES, layer_zero="projection"))
    torch.testing.assert_close(states[0], whole.projection(frames), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(states[1:], plain[1:], rtol=1e-4, atol=1e-5)
    assert (states[0] - plain[0]).abs().max() > 1e-2
