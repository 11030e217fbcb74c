"""The shape of an encoder as data: every layer may have its own size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import cache
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from skill_bench.base.errors import CheckpointError
from skill_bench.models.invalid import describe

ConvNorm = Literal["group_norm", "layer_norm"]
PositionNorm = Literal["weight_norm", "batch_norm", "layer_norm"]

# Far above every published model, far below what would fill a machine from a file of a few bytes. Strict: a number in
# a file is a number and not a text or a truth value.
Flag = Annotated[bool, Field(strict=True)]
Width = Annotated[int, Field(strict=True, ge=1, le=1 << 16)]
OptionalWidth = Annotated[int, Field(strict=True, ge=0, le=1 << 18)]
Heads = Annotated[int, Field(strict=True, ge=1, le=1024)]
Kernel = Annotated[int, Field(strict=True, ge=1, le=1 << 12)]
Depth = Annotated[int, Field(strict=True, ge=1, le=64)]
Layers = Annotated[int, Field(strict=True, ge=1, le=256)]
Buckets = Annotated[int, Field(strict=True, ge=4, le=1 << 16)]
Distance = Annotated[int, Field(strict=True, ge=2, le=1 << 20)]
Epsilon = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
_FORBID = ConfigDict(extra="forbid")
_MAX_PARAMETERS = 20_000_000_000


@dataclass(frozen=True, kw_only=True)
class ConvShape:
    """One convolution of the front end; no padding, so frames follow from samples exactly."""

    channels: Width
    kernel: Kernel
    stride: Kernel
    __pydantic_config__: ClassVar[ConfigDict] = _FORBID


@dataclass(frozen=True, kw_only=True)
class LayerShape:
    """One Transformer layer.

    ``heads`` are the indices (in the unpruned layer) of the heads that remain; WavLM needs to know which, because
    the position bias has one column a head. No heads: no attention block. ``ffn_dim`` 0: no feed-forward block.
    """

    heads: tuple[Annotated[int, Field(strict=True, ge=0)], ...]
    ffn_dim: OptionalWidth
    __pydantic_config__: ClassVar[ConfigDict] = _FORBID


@dataclass(frozen=True, kw_only=True)
class RelativePosition:
    """WavLM's bucketed relative position bias (arXiv 2110.13900, eq. 5), shared by all layers."""

    n_buckets: Buckets
    max_distance: Distance
    __pydantic_config__: ClassVar[ConfigDict] = _FORBID


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
        projection_norm: whether a LayerNorm comes before the projection to ``dim`` (not in DistilHuBERT).
        position_norm: of the convolutional position embedding: ``weight_norm`` (one convolution, its weight
            normalised), ``batch_norm`` (one, behind a norm with stored statistics), or ``layer_norm`` (data2vec:
            ``position_depth`` of them, each followed by a LayerNorm without parameters).
        layer_norm_first: pre-norm (large models) instead of post-norm.
        normalize_waveform: each utterance to zero mean and unit variance before the front end (large models).
        normalize_eps: added to that variance; quiet speech depends on it. fairseq and torchaudio 1e-5, transformers'
            feature extractor 1e-7.
    """

    convs: Annotated[tuple[ConvShape, ...], Field(min_length=1, max_length=64)]
    conv_bias: Flag
    conv_norm: ConvNorm
    channel_scale: Flag = False
    dim: Width
    n_heads: Heads
    head_dim: Width
    layers: Annotated[tuple[LayerShape, ...], Field(min_length=1, max_length=256)]
    projection_norm: Flag = True
    position_kernel: Kernel = 128
    position_groups: Width = 16
    position_norm: PositionNorm = "weight_norm"
    position_depth: Depth = 1
    layer_norm_first: Flag = False
    normalize_waveform: Flag = False
    normalize_eps: Epsilon = 1e-5
    relative_position: RelativePosition | None = None
    __pydantic_config__: ClassVar[ConfigDict] = _FORBID

    def __post_init__(self) -> None:
        for index, layer in enumerate(self.layers):
            if len(set(layer.heads)) != len(layer.heads) or any(not 0 <= head < self.n_heads for head in layer.heads):
                raise CheckpointError(
                    f"layer {index}: heads {list(layer.heads)} must be distinct and below n_heads={self.n_heads}"
                )
        if self.relative_position is not None and self.n_heads * self.head_dim != self.dim:
            raise CheckpointError(
                "a gated position bias needs n_heads x head_dim = dim, "
                f"found {self.n_heads} x {self.head_dim} != {self.dim}"
            )
        relative = self.relative_position
        if relative is not None and relative.max_distance <= relative.n_buckets // 4:
            raise CheckpointError(
                f"a position bias with {relative.n_buckets} buckets needs a max_distance above "
                f"{relative.n_buckets // 4}, found {relative.max_distance}"
            )
        if self.dim % self.position_groups:
            raise CheckpointError(
                f"the positional convolution's {self.position_groups} groups do not divide the width {self.dim}"
            )
        if self.position_depth > 1 and self.position_norm != "layer_norm":
            raise CheckpointError(
                f"{self.position_depth} positional convolutions with a {self.position_norm}: "
                "only those with a layer_norm come more than one at a time"
            )
        if self._size() > _MAX_PARAMETERS:
            raise CheckpointError(f"{self._size():,} parameters: more than {_MAX_PARAMETERS:,}, which no model has")

    def _size(self) -> int:
        """About how many parameters it has: enough to refuse what no machine holds, before it is allocated."""
        channels = [1, *(conv.channels for conv in self.convs)]
        front_end = sum(a * conv.channels * conv.kernel for a, conv in zip(channels, self.convs, strict=False))
        heads = sum(len(layer.heads) for layer in self.layers)
        blocks = 4 * self.dim * self.head_dim * heads + 2 * self.dim * sum(layer.ffn_dim for layer in self.layers)
        buckets = 0 if self.relative_position is None else self.relative_position.n_buckets * self.n_heads
        return front_end + channels[-1] * self.dim + self.n_position_parameters + blocks + buckets

    @property
    def family(self) -> str:
        """``wavlm`` with a relative position bias, else ``hubert`` (wav2vec 2.0 encoders have the same shape)."""
        return "hubert" if self.relative_position is None else "wavlm"

    @property
    def n_position_parameters(self) -> int:
        """Parameters of the convolutional position embedding."""
        convolution = self.dim * (self.dim // self.position_groups) * self.position_kernel + self.dim
        if self.position_norm == "weight_norm":
            return convolution + self.position_kernel
        return self.position_depth * convolution + 2 * self.dim * (self.position_norm == "batch_norm")

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
        """As JSON holds it. Fields that came later are left out where they say nothing new, so that the hash of a model
        that needs none of them stays what it was."""
        found = asdict(self)
        return {
            field.name: found[field.name]
            for field in fields(self)
            if field.name not in _LATER or found[field.name] != field.default
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Architecture:
        """Inverse of :meth:`to_dict` (also after JSON); types and sizes are checked before anything is built.

        Raises:
            CheckpointError: unknown or missing fields, or values that no encoder has.
        """
        try:
            found: Architecture = _adapter().validate_python(values)
            return found
        except ValidationError as error:
            raise CheckpointError(f"the architecture in the checkpoint cannot be read: {describe(error)}.") from error

    def with_layers(self, layers: tuple[LayerShape, ...]) -> Architecture:
        return replace(self, layers=layers)


_LATER = ("projection_norm", "position_norm", "position_depth", "normalize_eps")


@cache
def _adapter() -> Any:
    return TypeAdapter(Architecture)
