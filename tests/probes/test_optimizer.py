from __future__ import annotations

import pytest
import torch
from torch import Tensor

from skill_bench.probes.optimizer import ADAMW_DECAY, GridAdam

RATES = [0.1, 0.01, 1e-4]


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
