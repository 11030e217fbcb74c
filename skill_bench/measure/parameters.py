"""Parameter counts: the hard count of what a module holds, never an estimate."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn

from skill_bench.records.profile import Parameters


def count_parameters(module: nn.Module) -> Parameters:
    """Numbers in ``module``, in all and by its children; a tensor shared by several counts once, for the first.

    ``n_bytes`` is the memory of parameters and buffers as they are stored now.
    """
    seen: set[int] = set()
    outer = module
    while len(children := list(module.children())) == 1 and not list(module.parameters(recurse=False)):
        module = children[0]  # a wrapper tells nothing about where its parameters are
    own = list(module.parameters(recurse=False))
    by_component = {"(own)": _fresh(own, seen)} if own else {}
    by_component |= {name: _fresh(child.parameters(), seen) for name, child in module.named_children()}
    parameters, buffers = list(outer.parameters()), list(outer.buffers())
    return Parameters(
        total=sum(p.numel() for p in parameters),
        trainable=sum(p.numel() for p in parameters if p.requires_grad),
        buffers=sum(b.numel() for b in buffers),
        n_bytes=sum(t.numel() * t.element_size() for t in (*parameters, *buffers)),
        by_component={name: n for name, n in by_component.items() if n},
    )


def _fresh(parameters: Iterable[Tensor], seen: set[int]) -> int:
    """Numbers in the tensors not in ``seen``, which grows by them."""
    n = 0
    for parameter in parameters:
        if id(parameter) not in seen:
            seen.add(id(parameter))
            n += parameter.numel()
    return n
