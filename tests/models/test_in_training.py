"""Dropout and gradient factors: where each acts, and that none acts at evaluation.

What is computed again on the way back changes no gradient, and is not kept.

An utterance's hidden states do not depend on its batch: any shape, any lengths.

The norm over time from the waveform's windows, beside the norm of what the convolution gives.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_encoders import architectures, awake
from small_models import small_teacher
from torch import Tensor, nn
from torch.nn import functional as F

from skill_bench.distillation.recipe import load_recipe
from skill_bench.measure.memory import peak_on_cpu
from skill_bench.models import attention, checkpoint, factories, frontend, layer
from skill_bench.models.architecture import Architecture
from skill_bench.models.encoder import Encoder, pad
from skill_bench.models.frontend import TimeNorm, centred, convolve_and_normalise
from skill_bench.models.in_training import InTraining, dropped, recomputed
from skill_bench.pruning.gates import Gates

WAVES = 0.1 * torch.randn(2, 8000, generator=torch.Generator().manual_seed(0))
MODULES = (frontend, layer, attention)
# In float64, since norms over a few channels may amplify a float32 rounding a thousandfold; states are of order 1.
TOLERANCE = 1e-8

lengths_of_batches = st.lists(st.integers(400, 6000), min_size=2, max_size=4)


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


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5])
def test_drawn_dropout_is_torchs(rate: float) -> None:
    torch.manual_seed(0)
    x = torch.full((3, 1001, 333), 2.0, requires_grad=True)
    found = dropped(x, rate)
    found.sum().backward()  # type: ignore[no-untyped-call]
    gone = (found == 0).double()
    standard_error = (rate * (1 - rate) / x.numel()) ** 0.5
    assert abs(gone.mean().item() - rate) <= 5 * standard_error + 2**-17
    assert abs(gone[..., 1:].mul(gone[..., :-1]).mean().item() - rate**2) < 0.001, "neighbours hang together"
    torch.testing.assert_close(found[found != 0], torch.full_like(found[found != 0], 2 / (1 - rate)), rtol=1e-4, atol=0)
    torch.testing.assert_close(x.grad, found.detach() / 2)


@pytest.mark.parametrize("gate", [True, False])
def test_attention_with_dropout_is_without_it_where_none_falls(gate: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own product on the CPU is the one of torch: gated bias or a mask of keys, values and gradients."""
    torch.manual_seed(0)
    made = attention.SelfAttention(dim=32, heads=(0, 2), n_heads=4, head_dim=8, gated=gate, dropout=0.1).double()
    x, bias = torch.randn(2, 20, 32, dtype=torch.double), torch.randn(4, 20, 20, dtype=torch.double) if gate else None
    valid = (torch.arange(20) < torch.tensor([[20], [13]]))[:, None, None]
    monkeypatch.setattr(attention, "dropped", lambda weights, _: weights)
    outcomes = []
    for dropping in (True, False):
        leaf = x.clone().requires_grad_()
        attended = made.train(dropping)(leaf, bias, valid)
        attended.square().sum().backward()
        outcomes.append((attended.detach(), leaf.grad))
    torch.testing.assert_close(outcomes[0], outcomes[1])


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
        patch.setattr(attention, "KEPT_WEIGHTS", 0)
        found = outcome(encoder, gates, waves, seed)
        for place in MODULES:
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
    monkeypatch.setattr(attention, "KEPT_WEIGHTS", 0)
    with_it = peak_on_cpu(lambda: outcome(encoder, None, waves))
    monkeypatch.setattr(place, "recomputed", kept)
    assert with_it < 0.95 * peak_on_cpu(lambda: outcome(encoder, None, waves))


@pytest.mark.parametrize(("n_frames", "n_calls"), [(20, 1), (21, 2)])
def test_few_attention_weights_are_kept(n_frames: int, n_calls: int, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    made = attention.SelfAttention(dim=32, heads=(0, 2), n_heads=4, head_dim=8, gated=True)
    attend = made._attend
    monkeypatch.setattr(made, "_attend", lambda *given: calls.append(1) or attend(*given))  # type: ignore[func-returns-value]
    monkeypatch.setattr(attention, "KEPT_WEIGHTS", 3 * 2 * 20 * 20)
    made(torch.randn(3, n_frames, 32), torch.randn(4, n_frames, n_frames), None).sum().backward()
    assert len(calls) == n_calls


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


@settings(max_examples=60, deadline=None)
@given(shape=architectures(), lengths=lengths_of_batches, seed=st.integers(0, 1000))
def test_features_do_not_depend_on_the_batch(shape: Architecture, lengths: list[int], seed: int) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = awake(Encoder(shape)).double()
        waves = [torch.randn(n).double() * 0.1 + 0.05 for n in lengths]
    with torch.no_grad():
        batch, counts = encoder(*pad(waves))
        assert counts.tolist() == [shape.n_frames(n) for n in lengths]
        assert len(batch) == len(shape.layers) + 1
        for index, wave in enumerate(waves):
            alone, _ = encoder(wave[None])
            for layer, (together, single) in enumerate(zip(batch, alone, strict=True)):
                n_frames = single.shape[1]
                assert n_frames == counts[index]
                difference = (together[index, :n_frames] - single[0]).abs().max()
                assert difference < TOLERANCE, f"h{layer} of utterance {index}"


@settings(max_examples=20, deadline=None)
@given(shape=architectures(), n=st.integers(400, 4000), padding=st.integers(1, 3000), seed=st.integers(0, 1000))
def test_what_stands_in_the_padding_does_not_matter(shape: Architecture, n: int, padding: int, seed: int) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = awake(Encoder(shape)).double()
        wave, noise = torch.randn(n).double(), torch.randn(padding).double()
    lengths = torch.tensor([n, n + padding])
    other = torch.randn(n + padding, generator=torch.Generator().manual_seed(seed)).double()
    with torch.no_grad():
        clean, counts = encoder(torch.stack([torch.nn.functional.pad(wave, (0, padding)), other]), lengths)
        noisy, _ = encoder(torch.stack([torch.cat([wave, noise]), other]), lengths)
    for ours, theirs in zip(clean, noisy, strict=True):
        assert (ours[0, : counts[0]] - theirs[0, : counts[0]]).abs().max() < TOLERANCE


def conv_and_norm(
    channels: int, kernel: int, stride: int, *, bias: bool, dtype: torch.dtype
) -> tuple[nn.Conv1d, TimeNorm]:
    torch.manual_seed(0)
    conv, norm = nn.Conv1d(1, channels, kernel, stride, bias=bias), TimeNorm(channels)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    return conv.to(dtype).requires_grad_(False), norm.to(dtype).requires_grad_(False)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(12, 400), min_size=1, max_size=4),
    st.integers(1, 10),
    st.integers(1, 6),
    st.booleans(),
    st.sampled_from([0.0, 5.0]),
)
def test_it_is_group_norm_of_each_utterance_alone(
    lengths: list[int], kernel: int, stride: int, bias: bool, offset: float
) -> None:
    conv, norm = conv_and_norm(3, kernel, stride, bias=bias, dtype=torch.float64)
    waves = [torch.randn(n, dtype=torch.float64) + offset for n in lengths]
    padded, counts = nn.utils.rnn.pad_sequence(waves, batch_first=True), torch.tensor(lengths)
    n_frames = (counts - kernel) // stride + 1
    without_mean = centred(padded, counts)
    found = convolve_and_normalise(conv, norm.weight, norm.bias, norm.eps, without_mean, n_frames)
    for one, wave, n in zip(found, waves, n_frames.tolist(), strict=True):
        expected = F.group_norm(conv(wave[None, None]), 3, norm.weight, norm.bias, norm.eps)[0]
        torch.testing.assert_close(one[:, :n], expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("offset", [0.0, 3.0])
def test_an_offset_costs_float32_nothing(offset: float) -> None:
    conv, norm = conv_and_norm(8, 10, 5, bias=False, dtype=torch.float32)
    wave = 0.01 * torch.randn(1, 16000)
    lengths, n_frames = torch.tensor([16000]), torch.tensor([(16000 - 10) // 5 + 1])
    expected = norm.double()(conv.double()(wave.double()[:, None]), None)
    given = centred(wave + offset, lengths)
    assert abs(float(given.mean())) < 1e-6
    found = convolve_and_normalise(conv.float(), norm.float().weight, norm.bias, norm.eps, given, n_frames)
    torch.testing.assert_close(found.double(), expected, rtol=1e-3, atol=1e-3 if offset else 2e-5)


def test_what_lies_behind_an_utterance_is_not_heard() -> None:
    conv, norm = conv_and_norm(4, 10, 5, bias=True, dtype=torch.float32)
    waves, lengths = torch.randn(2, 900), torch.tensor([900, 500])
    n_frames = (lengths - 10) // 5 + 1
    other = waves.clone()
    other[1, 500:] = 7.0
    clean = waves * (torch.arange(900) < lengths[:, None])
    assert torch.equal(centred(clean, lengths)[1, 500:], torch.zeros(400))
    first = convolve_and_normalise(conv, norm.weight, norm.bias, norm.eps, waves, n_frames)
    second = convolve_and_normalise(conv, norm.weight, norm.bias, norm.eps, other, n_frames)
    assert torch.equal(first[1, :, : n_frames[1]], second[1, :, : n_frames[1]])
