"""The shape of an encoder as data: every layer may have its own size."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from skill_bench.base.errors import CheckpointError

ConvNorm = Literal["group_norm", "layer_norm"]


@dataclass(frozen=True, kw_only=True)
class ConvShape:
    """One convolution of the front end; no padding, so frames follow from samples exactly."""

    channels: int
    kernel: int
    stride: int


@dataclass(frozen=True, kw_only=True)
class LayerShape:
    """One Transformer layer.

    ``heads`` are the indices (in the unpruned layer) of the heads that remain; WavLM needs to know which, because
    the position bias has one column a head. No heads: no attention block. ``ffn_dim`` 0: no feed-forward block.
    """

    heads: tuple[int, ...]
    ffn_dim: int


@dataclass(frozen=True, kw_only=True)
class RelativePosition:
    """WavLM's bucketed relative position bias (arXiv 2110.13900, eq. 5), shared by all layers."""

    n_buckets: int
    max_distance: int


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """All that is needed to build an :class:`~skill_bench.models.encoder.Encoder`.

    Args:
        convs: front end, from the waveform on.
        conv_norm: ``group_norm`` (base models: over time, after the first convolution only) or ``layer_norm`` (large
            models: over channels, after each).
        channel_scale: whether a factor a channel follows the front end (pruned models keep their last gates there).
        dim: width of the hidden states.
        n_heads: heads of an unpruned layer; ``head_dim`` = width of each.
        layer_norm_first: pre-norm (large models) instead of post-norm.
        normalize_waveform: each utterance to zero mean and unit variance before the front end (large models).
    """

    convs: tuple[ConvShape, ...]
    conv_bias: bool
    conv_norm: ConvNorm
    channel_scale: bool = False
    dim: int
    n_heads: int
    head_dim: int
    layers: tuple[LayerShape, ...]
    position_kernel: int = 128
    position_groups: int = 16
    layer_norm_first: bool = False
    normalize_waveform: bool = False
    relative_position: RelativePosition | None = None

    def __post_init__(self) -> None:
        for index, layer in enumerate(self.layers):
            if len(set(layer.heads)) != len(layer.heads) or not set(layer.heads) <= set(range(self.n_heads)):
                raise CheckpointError(
                    f"layer {index}: heads {list(layer.heads)} must be distinct and below n_heads={self.n_heads}"
                )
        if self.relative_position is not None and self.n_heads * self.head_dim != self.dim:
            raise CheckpointError(
                "a gated position bias needs n_heads x head_dim = dim, "
                f"found {self.n_heads} x {self.head_dim} != {self.dim}"
            )

    @property
    def family(self) -> str:
        """``wavlm`` with a relative position bias, else ``hubert`` (wav2vec 2.0 encoders have the same shape)."""
        return "hubert" if self.relative_position is None else "wavlm"

    @property
    def hop_samples(self) -> int:
        """Samples from one frame to the next (320 for all published models)."""
        hop = 1
        for conv in self.convs:
            hop *= conv.stride
        return hop

    @property
    def receptive_field_samples(self) -> int:
        """Shortest input that gives a frame (400 for all published models)."""
        samples = 1
        for conv in reversed(self.convs):
            samples = (samples - 1) * conv.stride + conv.kernel
        return samples

    def n_frames(self, n_samples: int) -> int:
        """Frames that the front end gives for ``n_samples``, never negative."""
        for conv in self.convs:
            n_samples = max(0, (n_samples - conv.kernel) // conv.stride + 1)
        return n_samples

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Architecture:
        """Inverse of :meth:`to_dict` (also after JSON).

        Raises:
            CheckpointError: unknown or missing fields.
        """
        try:
            relative = values.get("relative_position")
            return cls(
                **{
                    **values,
                    "convs": tuple(ConvShape(**conv) for conv in values["convs"]),
                    "layers": tuple(
                        LayerShape(heads=tuple(layer["heads"]), ffn_dim=layer["ffn_dim"]) for layer in values["layers"]
                    ),
                    "relative_position": None if relative is None else RelativePosition(**relative),
                }
            )
        except (KeyError, TypeError) as error:
            raise CheckpointError(f"the architecture in the checkpoint cannot be read: {error}") from error

    def with_layers(self, layers: tuple[LayerShape, ...]) -> Architecture:
        return replace(self, layers=layers)
