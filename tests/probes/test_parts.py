"""Batches, tokens, SpecAugment.

The learning rate beyond the edge of a grid.
"""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from skill_bench.evaluation.solving.trained import LARGEST, SMALLEST, beyond
from skill_bench.probes import batches
from skill_bench.probes.heads import spec_augment
from skill_bench.probes.parameters import ADAMW_DECAY, GridAdam
from skill_bench.probes.tokens import Tokens
from skill_bench.tasks import SpecAugment, Target

RATES = [0.1, 0.01, 1e-4]


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=40), st.integers(1, 9))
def test_buckets_partition_by_length(lengths: list[int], size: int) -> None:
    buckets = batches.length_buckets(lengths=lengths, batch_size=size)
    flat = [i for bucket in buckets for i in bucket]
    assert sorted(flat) == list(range(len(lengths)))
    assert all(len(bucket) == size for bucket in buckets[:-1])
    assert 1 <= len(buckets[-1]) <= size
    assert [lengths[i] for i in flat] == sorted(lengths, reverse=True)


@given(st.integers(1, 20), st.integers(1, 8))
def test_every_epoch_has_everybody_once(n: int, size: int) -> None:
    steps = -(-n // size)
    order = batches.shuffled(n=n, batch_size=size, generator=_generator())
    for _ in range(2):
        epoch = [i for batch in itertools.islice(order, steps) for i in batch]
        assert sorted(epoch) == list(range(n))


def test_class_balanced_draws_rare_classes_as_often() -> None:
    labels = [0] * 90 + [1] * 10
    order = batches.class_balanced(labels=labels, batch_size=50, generator=_generator())
    drawn = [labels[i] for batch in itertools.islice(order, 100) for i in batch]
    assert len(drawn) == 5000
    assert abs(sum(drawn) / 5000 - 0.5) < 0.03  # four standard deviations


PHONES = Tokens(vocabulary=("A", "B", "NG"), words=True)
CHARACTERS = Tokens(vocabulary=(" ", "A", "B"), words=False)


def _frames(best: list[int]) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.tensor(best), 4).float()


@pytest.mark.parametrize(
    ("best", "text"),
    [([0, 0], ""), ([1, 1, 0, 1], "A A"), ([1, 2, 2, 3, 0], "A B NG"), ([0, 3, 3, 3], "NG"), ([2, 0, 0, 2], "B B")],
)
def test_greedy_decoding_joins_repeats_and_drops_blanks(best: list[int], text: str) -> None:
    assert PHONES.decode(_frames(best)) == text


def test_characters_include_the_blank_between_words() -> None:
    assert CHARACTERS.encode("AB A") == [2, 3, 1, 2]
    assert CHARACTERS.decode(_frames([2, 3, 0, 1, 2])) == "AB A"
    assert CHARACTERS.unknown("ABC d") == {"C", "d"}


@given(st.lists(st.sampled_from(["A", "B", "NG"]), max_size=8))
def test_encoding_round_trip(tokens: list[str]) -> None:
    text = " ".join(tokens)
    frames = [index for token in PHONES.encode(text) for index in (0, token)]
    assert PHONES.decode(_frames([*frames, 0])) == text


def test_vocabulary_of_the_corpus_or_of_the_task() -> None:
    found = Tokens.of(Target(tokens="phones"), texts=["B NG", "A B"])
    assert found == PHONES
    assert found.n_outputs == 4
    stated = Tokens.of(Target(tokens="characters", vocabulary=("X",)), texts=["AB"])
    assert stated.vocabulary == ("X",)
    assert stated.unknown("AB") == {"A", "B"}


def test_spec_augment_masks_stretches_and_keeps_the_rest() -> None:
    rows = 1 + torch.rand(2, 60, 12, generator=_generator())
    options = SpecAugment(
        time_warp_window=0, n_time_masks=1, time_mask_max_frames=10, n_feature_masks=1, feature_mask_max_dims=4
    )
    found = spec_augment(rows, lengths=[40, 20], options=options, generator=_generator(5))
    masked = found == 0
    assert masked.any()
    assert torch.equal(found[~masked], rows[~masked])
    assert torch.equal(masked[0], masked[1])
    for utterance in torch.split(masked[0], [40, 20]):
        assert int(utterance.all(dim=1).sum()) < 10
        assert int(utterance.all(dim=0).sum()) < 4


def test_time_warp_keeps_length_and_both_ends() -> None:
    ramp = torch.linspace(0, 1, 50)[None, :, None].expand(1, 50, 3)
    options = SpecAugment(time_warp_window=5, n_time_masks=0, n_feature_masks=0)
    found = spec_augment(ramp, lengths=[50], options=options, generator=_generator())
    assert found.shape == ramp.shape
    assert not torch.equal(found, ramp)
    assert (found - ramp).abs().max() < 6 / 50  # at most the window, and a frame of interpolation
    short = spec_augment(ramp[:, :8], lengths=[8], options=options, generator=_generator())
    assert torch.equal(short, ramp[:, :8])


def _start() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "a": torch.randn(3, 4, 2, generator=generator).double().requires_grad_(),
        "b": torch.randn(3, 5, generator=generator).double().requires_grad_(),
    }


def _loss(a: Tensor, b: Tensor, step: int) -> Tensor:
    """Gradients above and below the clipping norm, in turn."""
    return (0.05 if step % 2 else 30.0) * ((a - 1) ** 2).sum() + (b**4).sum() / (step + 1)


def _run(rates: list[float], cells: list[int], steps: int = 20, decay: float = 0.0) -> dict[str, Tensor]:
    parameters = {name: value.detach()[cells].clone().requires_grad_() for name, value in _start().items()}
    optimizer = GridAdam(parameters=parameters, learning_rates=torch.tensor(rates).double(), clip_norm=1.0, decay=decay)
    for step in range(steps):
        sum(_loss(parameters["a"][c], parameters["b"][c], step) for c in range(len(cells))).backward()  # type: ignore
        assert bool(optimizer.step().all())
    return {name: value.detach() for name, value in parameters.items()}


@pytest.mark.parametrize("cell", range(3))
@pytest.mark.parametrize("reference_type", [torch.optim.Adam, torch.optim.AdamW])
def test_each_cell_is_torch_adam_with_clipping(cell: int, reference_type: type[torch.optim.Adam]) -> None:
    decay = ADAMW_DECAY if reference_type is torch.optim.AdamW else 0.0
    found = _run(RATES, [0, 1, 2], decay=decay)
    a, b = (value.detach()[cell].clone().requires_grad_() for value in _start().values())
    reference = reference_type([a, b], lr=float(torch.tensor(RATES)[cell]))
    for step in range(20):
        reference.zero_grad()
        _loss(a, b, step).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_([a, b], 1.0)
        reference.step()
    # float64: rounding only
    torch.testing.assert_close(found["a"][cell], a.detach(), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(found["b"][cell], b.detach(), rtol=1e-9, atol=1e-12)


def test_a_cell_does_not_depend_on_the_others() -> None:
    together, alone = _run(RATES, [0, 1, 2]), _run(RATES[1:2], [1])
    for name, value in together.items():
        torch.testing.assert_close(value[1:2], alone[name], rtol=1e-12, atol=0)


def test_a_cell_without_finite_gradient_waits_and_the_others_go_on() -> None:
    parameters = {name: value.detach().clone().requires_grad_() for name, value in _start().items()}
    before = {name: value.detach().clone() for name, value in parameters.items()}
    optimizer = GridAdam(parameters=parameters, learning_rates=torch.tensor(RATES).double(), clip_norm=1.0)
    scale = torch.tensor([1.0, float("nan"), 1.0]).double()
    (parameters["a"] * scale[:, None, None] + 0 * parameters["b"].sum()).sum().backward()  # type: ignore
    assert optimizer.step().tolist() == [True, False, True]
    assert torch.equal(parameters["a"].detach()[1], before["a"][1])
    assert not torch.equal(parameters["a"].detach()[0], before["a"][0])
    (parameters["a"] + 0 * parameters["b"].sum()).sum().backward()  # type: ignore[no-untyped-call]
    assert optimizer.step().tolist() == [True, True, True]
    # the waiting cell now makes its first step, of exactly the learning rate (Adam's bias correction)
    moved = (before["a"][1] - parameters["a"].detach()[1]).abs()
    torch.testing.assert_close(moved, torch.full_like(moved, 0.01), rtol=1e-6, atol=0)


def test_keeping_some_cells_does_not_disturb_them() -> None:
    parameters = {name: value.detach().clone().requires_grad_() for name, value in _start().items()}
    optimizer = GridAdam(parameters=parameters, learning_rates=torch.tensor(RATES).double(), clip_norm=1.0)
    for step in range(20):
        if step == 7:
            optimizer.keep([2])
        sum(_loss(a, b, step) for a, b in zip(parameters["a"], parameters["b"], strict=True)).backward()  # type: ignore
        optimizer.step()
    whole = _run(RATES, [0, 1, 2])
    assert parameters["a"].shape[0] == 1
    torch.testing.assert_close(parameters["a"].detach()[0], whole["a"][2], rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("rates", "chosen", "found"),
    [
        ((1e-1, 1e-2, 1e-3), 1e-1, 1.0),
        ((1e-3, 1e-1, 1e-2), 1e-3, 1e-4),
        ((1e-1, 1e-2, 1e-3), 1e-2, None),
        ((3e-3, 1e-3), 3e-3, 9e-3),
        ((3e-3, 1e-3), 1e-3, 3.33e-4),
        ((1e-2, 3e-3, 1e-3), 1e-2, 3.33e-2),
        ((1.0, 1e-1), 1.0, None),
        ((1e-6, 1e-7), 1e-7, None),
        ((1e-4,), 1e-4, None),
        ((0.1001, 0.10009), 0.1001, None),
    ],
)
def test_the_grid_goes_on_in_its_own_spacing(rates: tuple[float, ...], chosen: float, found: float | None) -> None:
    assert beyond(rates, chosen) == found


@given(st.lists(st.floats(SMALLEST, LARGEST), min_size=2, max_size=6, unique=True))
def test_what_lies_beyond_is_outside_the_grid_and_within_the_ends(rates: list[float]) -> None:
    for chosen in (min(rates), max(rates)):
        found = beyond(rates, chosen)
        assert found is None or SMALLEST <= found <= LARGEST
        assert found is None or not min(rates) <= found <= max(rates)


def test_the_first_updates_have_all_digits_of_float32() -> None:
    """1 - 0.999 in float32 has three digits fewer; from 0, all of an update is in the parameter."""
    ours = {"a": torch.zeros(1, 3).requires_grad_()}
    theirs = torch.zeros(3).requires_grad_()
    optimizer = GridAdam(parameters=ours, learning_rates=torch.tensor([0.01]), clip_norm=100.0)
    reference = torch.optim.Adam([theirs], lr=0.01)
    for step in range(5):
        gradient = torch.tensor([1.0, -0.3, 0.02]) * (step + 1)
        ours["a"].grad, theirs.grad = gradient[None].clone(), gradient.clone()
        optimizer.step()
        reference.step()
        # float32: a few roundings of 6e-8; the difference of two numbers near 1 was 6e-6 off
        torch.testing.assert_close(ours["a"][0].detach(), theirs.detach(), rtol=1e-6, atol=0)
