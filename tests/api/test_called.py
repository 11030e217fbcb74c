"""Modules and functions as upstreams: what they may give, and what tells one from another."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from skill_bench.api.models import as_upstream, borrowed
from skill_bench.base.errors import SpecError, UsageError
from skill_bench.upstream.called import upstream_of

HOP = 320


class Tiny(nn.Module):
    """Two layers of framed samples, with dropout, and a number that is no weight."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.layer, self.dropout, self.factor = nn.Linear(HOP, 8), nn.Dropout(0.5), factor

    def forward(self, wave: Tensor) -> list[Tensor]:
        first = self.dropout(self.layer(wave.unfold(1, HOP, HOP)))
        return [first, first.tanh() * self.factor]


def frames(wave: Tensor) -> Tensor:
    return wave[0].unfold(0, 400, 160)[:, :5]


FORMS: dict[str, Callable[[Tensor], Any]] = {
    "frames x dim": frames,
    "1 x frames x dim": lambda wave: frames(wave)[None],
    "array": lambda wave: frames(wave).numpy(),
    "list": lambda wave: [frames(wave)],
    "mapping": lambda wave: {"hidden_states": (frames(wave)[None],)},
    "object": lambda wave: SimpleNamespace(hidden_states=(frames(wave)[None],)),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_states(form: str) -> None:
    upstream = upstream_of(FORMS[form], name=form)
    wave = torch.randn(4000)
    (states,) = upstream.hidden_states([wave])
    torch.testing.assert_close(states, frames(wave[None])[None], rtol=0, atol=0)
    assert (upstream.downsample_rate, upstream.n_hidden_states, upstream.dim) == (160, 1, 5)


def test_a_module_is_lent() -> None:
    model = Tiny().train()
    model.layer.weight.requires_grad_(True)
    with borrowed(model):
        upstream = as_upstream(model)
        assert not model.training
        assert upstream.downsample_rate == HOP
        assert upstream.system().n_parameters == HOP * 8 + 8
        assert upstream.name == f"tiny-{upstream.identity[:8]}"
    assert model.training
    assert model.dropout.training
    assert model.layer.weight.requires_grad


def test_whatever_changes_the_states_changes_the_identity() -> None:
    first = upstream_of(Tiny()).identity
    assert upstream_of(Tiny()).identity == first
    assert upstream_of(Tiny(factor=1.0001)).identity != first, "no weight, and the same source"
    other = Tiny()
    with torch.no_grad():
        other.layer.bias[0] += 1e-3
    assert upstream_of(other).identity != first
    scale = 1.0
    assert upstream_of(lambda wave: frames(wave) * scale).identity != upstream_of(frames).identity


def test_a_function_does_not_tell_its_parameters() -> None:
    model = Tiny().eval()
    system = upstream_of(lambda wave: model(wave), name="mine").system()
    assert (system.name, system.n_parameters, system.checkpoint_sha256) == ("mine", None, None)


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (lambda wave: None, SpecError, "Model: gave NoneType"),
        (lambda wave: [wave], UsageError, "cannot be told: 1 frame of 16000 samples, 1 of 131200"),
        (lambda wave: [wave[0]], SpecError, r"gave list of a tensor \(16000,\)"),
        (lambda wave: torch.randn(1, 9, 4), UsageError, "gives other hidden states when it is called again"),
        (
            lambda wave: wave[:, :100, None],
            UsageError,
            r"cannot be told: 100 frames of 16000.*downsample_rate=",
        ),
    ],
)
def test_what_is_no_model_is_said(model: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        upstream_of(model)


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (3, {}, "int is no model"),
        (frames, {"ckpt": "a.pt"}, "ckpt= belongs to a named upstream"),
        ("fbank", {"name": "x"}, "name= and downsample_rate= belong to modules"),
    ],
)
def test_options_that_do_not_fit_are_said(model: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        as_upstream(model, **options)


def test_a_wave_that_is_too_short_has_no_frame() -> None:
    upstream = upstream_of(frames)
    assert upstream.hidden_states([torch.zeros(399)])[0].shape == (1, 0, 5)
    assert np.prod(upstream.hidden_states([torch.zeros(400)])[0].shape) == 5
