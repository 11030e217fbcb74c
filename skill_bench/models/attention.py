"""Self-attention over the heads that remain, with WavLM's gate on the position bias."""

from __future__ import annotations

from functools import partial

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from skill_bench.models.in_training import dropped, recomputed

KEPT_WEIGHTS = 2**21
"""So many attention weights of a layer and batch are kept for the backward pass (36 MB); more are computed again."""


def head_rows(heads: Int[Tensor, " some"], *, head_dim: int) -> Int[Tensor, " rows"]:
    """Rows of the query, key and value projections, and columns of the output's, that belong to ``heads``."""
    return (heads[:, None] * head_dim + torch.arange(head_dim)).flatten()


class PositionGate(nn.Module):
    """How strongly each query of each head listens to the position bias (WavLM, arXiv 2110.13900, eq. 6-7).

    Weights cover all ``n_heads`` of the unpruned layer, as checkpoints store them; only ``heads`` are computed. Their
    numbers are a tensor on the weights' device, since a list would be copied there, and waited for, at every use.
    """

    index: Tensor

    def __init__(self, *, heads: tuple[int, ...], n_heads: int, head_dim: int) -> None:
        super().__init__()
        self.n_heads, self.head_dim = n_heads, head_dim
        # On the CPU, also where weights are put in later and their places are made without storage.
        self.register_buffer("index", torch.tensor(heads, device="cpu"), persistent=False)
        self.linear = nn.Linear(head_dim, 8)
        self.scale = nn.Parameter(torch.ones(n_heads))

    def forward(self, x: Float[Tensor, "batch frames dim"]) -> Float[Tensor, "batch heads frames 1"]:
        per_head = x.reshape(*x.shape[:2], self.n_heads, self.head_dim)[:, :, self.index].transpose(1, 2)
        gates: Tensor = self.linear(per_head)
        update, reset = torch.sigmoid(gates.view(*gates.shape[:3], 2, 4).sum(4)).chunk(2, dim=3)
        return update * (reset * self.scale[self.index][:, None, None] - 1.0) + 2.0


class SelfAttention(nn.Module):
    """Scaled dot-product attention whose heads may be any subset of the unpruned layer's.

    ``dropout``: of the attention weights, in training.
    """

    def __init__(
        self, *, dim: int, heads: tuple[int, ...], n_heads: int, head_dim: int, gated: bool, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.dropout = dropout
        inner = len(heads) * head_dim
        self.heads, self.head_dim = list(heads), head_dim
        self.query = nn.Linear(dim, inner)
        self.key = nn.Linear(dim, inner)
        self.value = nn.Linear(dim, inner)
        self.out = nn.Linear(inner, dim)
        self.gate = PositionGate(heads=heads, n_heads=n_heads, head_dim=head_dim) if gated else None

    def forward(
        self,
        x: Float[Tensor, "batch frames dim"],
        position_bias: Float[Tensor, "all_heads frames frames"] | None,
        key_is_valid: Bool[Tensor, "batch 1 1 frames"] | None,
        head_mask: Float[Tensor, " heads"] | None = None,
    ) -> Float[Tensor, "batch frames dim"]:
        query, key, value = (
            linear(x).view(*x.shape[:2], len(self.heads), self.head_dim).transpose(1, 2)
            for linear in (self.query, self.key, self.value)
        )
        if self.gate is None:
            attended = self._attend(query, key, value, key_is_valid)
        else:
            assert position_bias is not None
            gated = partial(self._attend_gated, key_is_valid)
            inputs = (query, key, value, self.gate(x), position_bias)
            n_weights = query[..., 0].numel() * x.shape[1]
            attended = gated(*inputs) if n_weights <= KEPT_WEIGHTS else recomputed(gated, *inputs)
        if head_mask is not None:
            attended = attended * head_mask[:, None, None]
        projected: Tensor = self.out(attended.transpose(1, 2).flatten(2))
        return projected

    def _attend_gated(
        self, key_is_valid: Tensor | None, query: Tensor, key: Tensor, value: Tensor, gate: Tensor, bias: Tensor
    ) -> Tensor:
        """The gated bias, (batch, heads, frames, frames), is the largest that a layer makes, and is not kept."""
        assert self.gate is not None
        added = gate * bias[self.gate.index]
        if key_is_valid is not None:
            added = added.masked_fill(~key_is_valid, float("-inf"))
        return self._attend(query, key, value, added)

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, added: Tensor | None) -> Tensor:
        rate = self.dropout if self.training else 0.0
        if rate == 0.0 or query.device.type != "cpu":
            return F.scaled_dot_product_attention(query, key, value, attn_mask=added, dropout_p=rate)
        # torch's for the CPU fuses nothing once there is dropout, and looks for rows without a key, which none here is.
        scores = (query * self.head_dim**-0.5) @ key.transpose(2, 3)
        if added is not None:
            scores = scores.masked_fill(~added, float("-inf")) if added.dtype is torch.bool else scores + added
        return dropped(F.softmax(scores, dim=3), rate) @ value
