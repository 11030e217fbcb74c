"""Where a frame stands: the convolutional embedding of all models, and WavLM's relative position bias."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm
from torch.nn.utils.parametrize import remove_parametrizations

from skill_bench.models.architecture import Architecture, RelativePosition
from skill_bench.models.arithmetic import threads


class ConvolutionalPosition(nn.Module):
    """Grouped, weight-normalised convolution over frames, added to its input (wav2vec 2.0, arXiv 2006.11477)."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        dim, kernel = architecture.dim, architecture.position_kernel
        conv = nn.Conv1d(dim, dim, kernel, padding=kernel // 2, groups=architecture.position_groups)
        nn.init.normal_(conv.weight, std=math.sqrt(4 / (kernel * dim)))
        nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
        self.conv = weight_norm(conv, dim=2)

    def forward(
        self, x: Float[Tensor, "batch frames dim"], valid: Bool[Tensor, "batch frames"] | None = None
    ) -> Float[Tensor, "batch frames dim"]:
        """``valid`` changes nothing here: padding is zero when it comes in, as what is beyond the ends."""
        embedded = self.conv(x.transpose(1, 2))
        return x + F.gelu(embedded[..., : x.shape[1]]).transpose(1, 2)

    def fix_norm(self) -> None:
        """From now on the kernels are plain weights: nothing is trained any more."""
        with threads(1):
            remove_parametrizations(self.conv, "weight")

    def weight(self) -> Float[Tensor, "dim channels kernel"]:
        """The kernels. Their norms are sums, whose last bits would hang on the number of threads."""
        with threads(1):
            kernels: Tensor = self.conv.weight
            return kernels


class StoredNorm(nn.Module):
    """A batch norm that has been trained: statistics are what the checkpoint says, in training too."""

    def __init__(self, dim: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim))
        self.register_buffer("running_mean", torch.zeros(dim))
        self.register_buffer("running_var", torch.ones(dim))
        self.eps = eps

    def forward(self, x: Float[Tensor, "batch dim frames"]) -> Float[Tensor, "batch dim frames"]:
        mean, variance = self.get_buffer("running_mean"), self.get_buffer("running_var")
        return F.batch_norm(x, mean, variance, self.weight, self.bias, training=False, eps=self.eps)


class PlainPosition(nn.Module):
    """Convolutions without weight normalisation: data2vec's several short ones (arXiv 2202.03555), or HuBERT's one
    behind a batch norm. Between them padding is made zero again, so that an utterance does not depend on its batch."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        dim, kernel = architecture.dim, architecture.position_kernel
        self.norm = StoredNorm(dim) if architecture.position_norm == "batch_norm" else None
        self.convs = nn.ModuleList(
            nn.Conv1d(dim, dim, kernel, padding=kernel // 2, groups=architecture.position_groups)
            for _ in range(architecture.position_depth)
        )

    def forward(
        self, x: Float[Tensor, "batch frames dim"], valid: Bool[Tensor, "batch frames"] | None = None
    ) -> Float[Tensor, "batch frames dim"]:
        embedded = x.transpose(1, 2) if self.norm is None else self.norm(x.transpose(1, 2))
        for conv in self.convs:
            if valid is not None:
                embedded = embedded.masked_fill(~valid[:, None], 0.0)
            embedded = conv(embedded)[..., : x.shape[1]]
            if self.norm is None:
                embedded = F.layer_norm(embedded.transpose(1, 2), x.shape[2:]).transpose(1, 2)
            embedded = F.gelu(embedded)
        return x + embedded.transpose(1, 2)


def positional_embedding(architecture: Architecture) -> ConvolutionalPosition | PlainPosition:
    """The module that adds to each frame where it stands."""
    kind = ConvolutionalPosition if architecture.position_norm == "weight_norm" else PlainPosition
    return kind(architecture)


def relative_buckets(offsets: Int[Tensor, " offsets"], shape: RelativePosition) -> Int[Tensor, " offsets"]:
    """Bucket of each offset (key position - query position): exact when near, logarithmic when far.

    Source: WavLM (arXiv 2110.13900), eq. 5; T5's buckets. Half of the buckets for each sign.
    """
    n_buckets = shape.n_buckets // 2
    n_exact = n_buckets // 2
    distance = offsets.abs()
    logarithmic = n_exact + (
        torch.log(distance.float().clamp(min=1) / n_exact)
        / math.log(shape.max_distance / n_exact)
        * (n_buckets - n_exact)
    ).long().clamp(max=n_buckets - 1 - n_exact)
    return (offsets > 0).long() * n_buckets + torch.where(distance < n_exact, distance, logarithmic)


class RelativePositionBias(nn.Module):
    """One learnt bias a bucket and head, laid out over query and key positions."""

    def __init__(self, shape: RelativePosition, n_heads: int) -> None:
        super().__init__()
        self.shape = shape
        self.weight = nn.Parameter(torch.empty(shape.n_buckets, n_heads).normal_(std=0.02))

    def forward(self, n_frames: int) -> Float[Tensor, "heads frames frames"]:
        device = self.weight.device
        offsets = torch.arange(1 - n_frames, n_frames, device=device)
        by_offset = self.weight[relative_buckets(offsets, self.shape)]
        position = torch.arange(n_frames, device=device)
        return by_offset[position[None, :] - position[:, None] + n_frames - 1].permute(2, 0, 1).contiguous()
