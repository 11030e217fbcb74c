"""Multiply-adds of any module, counted where torch dispatches its operations.

Counted: convolutions, matrix products (linear layers included), the two products of attention, and recurrent layers.
Not counted: biases, normalisations, activations, softmax, Fourier transforms. The counted operations are not carried
out: zeros of the right shape take the place of their results, so that a count costs far less than a forward, and code
that looks at values still runs. A module that computes more frames than it keeps (HuBERT's positional convolution:
one) is charged for what it computes.

``superb`` is the number of the SUPERB challenge: its profiler adds, for each attention layer over T frames with H heads
and d = H * head width, 4*T*d for the bias additions and 4*H*T*T for scale, mask and softmax. For HuBERT Base that
gives 1669.2 G over the 32 utterances, as published, where the products alone give 1665.5 G.

Parameters are counted too: what a module holds, never an estimate.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterable
from math import prod
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import TreeSpec, tree_flatten, tree_map_only, tree_unflatten

from skill_bench.records.profile import Macs, Parameters

CHALLENGE_LENGTHS_SAMPLES = (
    20560, 34560, 38480, 42560, 45600, 48720, 52000, 55120,
    59120, 62720, 66400, 71200, 75200, 78640, 82800, 87520,
    92720, 98560, 104400, 111120, 118480, 125040, 132720, 142640,
    154000, 166720, 180880, 197920, 217920, 239280, 268160, 326000,
)  # fmt: skip
"""The 32 utterances of LibriSpeech test-clean by which the SUPERB challenge counts, at 16 kHz: 224.86 s."""
BUCKET = 8

aten = torch.ops.aten
_MATRIX_PRODUCTS = {
    aten.mm: 0, aten.addmm: 1, aten.bmm: 0, aten.baddbmm: 1, aten.addbmm: 1,
    aten.mv: 0, aten.addmv: 1, aten.dot: 0, aten.vdot: 0,
}  # fmt: skip
"""Operation -> index of its first factor."""
_CONVOLUTIONS = {aten.convolution, aten._convolution, aten.cudnn_convolution, aten.mkldnn_convolution}
_FUSED_ATTENTION = {
    aten._scaled_dot_product_flash_attention_for_cpu,
    aten._scaled_dot_product_flash_attention,
    aten._scaled_dot_product_efficient_attention,
    aten._scaled_dot_product_cudnn_attention,
}
_RECURRENT = {aten.mkldnn_rnn_layer, aten._cudnn_rnn}
_PRODUCTS = {*_MATRIX_PRODUCTS, *_CONVOLUTIONS, *_FUSED_ATTENTION, *_RECURRENT}
_OPAQUE = {
    aten._native_multi_head_attention,
    aten._transformer_encoder_layer_fwd,
    aten._scaled_dot_product_fused_attention_overrideable,
}


class MacCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts while active: ``by_operation`` and ``attention_extra`` (the challenge's additions)."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.by_operation: Counter[str] = Counter()
        self.attention_extra = 0
        self._softmax_size: int | None = None

    @property
    def total(self) -> int:
        """Multiply-adds so far."""
        return sum(self.by_operation.values())

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        """Runs ``func``, or counts it and answers with zeros; composite operations are taken apart first."""
        kwargs = kwargs or {}
        packet = func._overloadpacket
        if packet in _OPAQUE:
            raise NotImplementedError(f"{packet} hides its matrix products; call the module without fused inference")
        # Under inference_mode composite operations such as linear arrive whole.
        if _is_composite(func):
            with self:
                return func.decompose(*args, **kwargs)
        if packet in _PRODUCTS:
            out = _zeros_like_result(func, args, kwargs)
            self._count(packet, args, out)
            return out
        out = func(*args, **kwargs)
        if packet is aten._softmax and out.ndim >= 3 and args[1] in (-1, out.ndim - 1):
            self._softmax_size = out.numel()
        return out

    def _count(self, packet: Any, args: tuple[Any, ...], out: Any) -> None:
        if packet in _MATRIX_PRODUCTS:
            first, second = args[_MATRIX_PRODUCTS[packet] :][:2]
            columns = second.shape[-1] if second.ndim > 1 else 1
            self.by_operation["matmul"] += first.numel() * columns
            if first.numel() == self._softmax_size:
                # Attention written out: softmax of the scores, then their product with the values.
                self.attention_extra += 4 * first.numel() + 4 * out.numel()
            self._softmax_size = None
        elif packet in _CONVOLUTIONS:
            self.by_operation["convolution"] += _convolution(args, out)
        elif packet in _FUSED_ATTENTION:
            query, key, value = args[:3]
            scores = prod(query.shape[:-1]) * key.shape[-2]
            self.by_operation["attention"] += scores * (query.shape[-1] + value.shape[-1])
            self.attention_extra += 4 * scores + 4 * prod(query.shape[:-1]) * value.shape[-1]
        else:
            # (time, batch, features), and weight matrices that are each applied at every step.
            weights = args[1] if packet is aten._cudnn_rnn else args[1:3]
            n_weights = sum(weight.numel() for weight in weights if weight.ndim == 2)
            self.by_operation["recurrent"] += prod(args[0].shape[:2]) * n_weights


def count(run: Callable[[], object]) -> MacCounter:
    """The multiply-adds of everything that ``run`` computes, without gradients.

    Raises:
        NotImplementedError: an operation that hides matrix products.
    """
    counter = MacCounter()
    fast_path = torch.backends.mha.get_fastpath_enabled()
    # torch.nn.MultiheadAttention's fused inference is one opaque operation.
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.inference_mode(), counter:
            run()
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
    return counter


def challenge_macs(
    run: Callable[[Float[Tensor, " samples"]], object],
    *,
    lengths_samples: tuple[int, ...] = CHALLENGE_LENGTHS_SAMPLES,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Macs:
    """Counts ``run`` on one utterance of each length.

    Args:
        run: encodes one utterance; its module is on ``device``.
        lengths_samples: a multiple of 8 lengths, shortest first; the challenge's by default. What occurs twice is
            encoded once.
        device: where the module's weights are.
        dtype: of the waveform.

    Raises:
        ValueError: the lengths do not fill buckets of eight.
        NotImplementedError: an operation that hides matrix products.
    """
    if len(lengths_samples) % BUCKET:
        raise ValueError(f"{len(lengths_samples)} lengths do not fill buckets of {BUCKET}")
    counted = {n: _count_one(run, n, device, dtype) for n in dict.fromkeys(lengths_samples)}
    counters = [counted[n] for n in lengths_samples]
    plain = [counter.total for counter in counters]
    superb = [counter.total + counter.attention_extra for counter in counters]
    by_operation = sum((counter.by_operation for counter in counters), Counter[str]())
    return Macs(
        total=sum(plain),
        superb=sum(superb),
        buckets=_bucket_sums(plain),
        superb_buckets=_bucket_sums(superb),
        by_operation=dict(sorted(by_operation.items())),
        lengths_samples=lengths_samples,
    )


def _count_one(run: Callable[[Tensor], object], n: int, device: torch.device | str, dtype: torch.dtype) -> MacCounter:
    wave = torch.zeros(n, device=device, dtype=dtype)
    return count(lambda: run(wave))


@functools.cache
def _is_composite(func: Any) -> bool:
    return bool(torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CompositeImplicitAutograd"))


def _zeros_like_result(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Zeros in place of what ``func`` would compute, on its first argument's device."""

    def zeros(tensor: Tensor) -> Tensor:
        return torch.zeros(tensor.shape, dtype=tensor.dtype, device=args[0].device)

    leaves, structure = tree_flatten((args, kwargs))
    described = tuple(
        _Shape((leaf.shape, leaf.stride(), leaf.dtype)) if isinstance(leaf, Tensor) else leaf for leaf in leaves
    )
    return tree_map_only(Tensor, zeros, _result_without_values(func, described, structure))


class _Shape(tuple[torch.Size, tuple[int, ...], torch.dtype]):
    """Of a tensor: its shape, strides and type."""


@functools.lru_cache(maxsize=1024)
def _result_without_values(func: Any, leaves: tuple[Any, ...], structure: TreeSpec) -> Any:
    """What ``func``, a matrix product, gives for tensors of such shapes; torch tells slowly, and layers are alike."""
    tensors = [
        torch.empty_strided(leaf[0], leaf[1], dtype=leaf[2], device="meta") if isinstance(leaf, _Shape) else leaf
        for leaf in leaves
    ]
    args, kwargs = tree_unflatten(tensors, structure)
    return func(*args, **kwargs)


def _convolution(args: tuple[Any, ...], out: Any) -> int:
    """Multiply-adds of a convolution; weight (out, in / groups, kernel), or (in, out / groups, kernel) transposed."""
    inputs, weight, transposed = args[0], args[1], len(args) > 6 and args[6] is True
    positions = prod((inputs if transposed else out).shape[2:])
    return int(out.shape[0] * positions * weight.numel())


def _bucket_sums(values: list[int]) -> tuple[int, ...]:
    return tuple(sum(values[start : start + BUCKET]) for start in range(0, len(values), BUCKET))


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
