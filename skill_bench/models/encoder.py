"""One encoder for wav2vec 2.0, HuBERT and WavLM, base and large, whole or pruned to any shape."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from skill_bench.models.architecture import Architecture
from skill_bench.models.frontend import FrontEnd, normalize_waveforms, open_layer_norm, valid_positions
from skill_bench.models.in_training import InTraining, scale_gradient
from skill_bench.models.layer import EncoderMasks, Layer
from skill_bench.models.position import RelativePositionBias, positional_embedding

LayerZero = Literal["first_layer_input", "projection"]
"""What hidden state 0 is: the input of the first layer, or the projected frames before the positional convolution."""


class FeatureProjection(nn.Module):
    """Front-end channels to the width of the Transformer."""

    def __init__(self, *, channels: int, dim: int, norm: bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels) if norm else None
        self.linear = nn.Linear(channels, dim)

    def forward(
        self, x: Float[Tensor, "batch frames channels"], mask: Float[Tensor, " channels"] | None = None
    ) -> Float[Tensor, "batch frames dim"]:
        """``mask``: the gates that the last convolution was multiplied by."""
        if self.norm is not None:
            x = self.norm(x) if mask is None else open_layer_norm(x, self.norm, mask)
        projected: Tensor = self.linear(x)
        return projected


class Encoder(nn.Module):
    """Waveforms to hidden states.

    The position bias belongs to the encoder, not to its first layer, so that it outlives the pruning of that layer.

    Args:
        architecture: shapes of all parts.
        in_training: dropout and the like, in training only; default none.
    """

    def __init__(self, architecture: Architecture, *, in_training: InTraining | None = None) -> None:
        super().__init__()
        self.architecture, self.in_training = architecture, in_training or InTraining()
        self.front_end = FrontEnd(architecture)
        self.projection = FeatureProjection(
            channels=architecture.convs[-1].channels, dim=architecture.dim, norm=architecture.projection_norm
        )
        self.position = positional_embedding(architecture)
        self.norm = nn.LayerNorm(architecture.dim)
        self.position_bias = None
        if architecture.relative_position is not None:
            self.position_bias = RelativePositionBias(architecture.relative_position, architecture.n_heads)
        self.layers = nn.ModuleList(Layer(architecture, shape, self.in_training) for shape in architecture.layers)
        self.dropout = nn.Dropout(self.in_training.residual)
        _initialise(self)

    def frames(
        self,
        waves: Float[Tensor, "batch samples"],
        lengths: Int[Tensor, " batch"] | None = None,
        masks: EncoderMasks | None = None,
    ) -> tuple[Float[Tensor, "batch frames channels"], Int[Tensor, " batch"] | None]:
        """The front end's output, before the projection."""
        if self.architecture.normalize_waveform:
            whole = torch.full((waves.shape[0],), waves.shape[1], device=waves.device)
            lengths_or_whole = whole if lengths is None else lengths
            waves = normalize_waveforms(waves, lengths_or_whole, self.architecture.normalize_eps)
        frames: tuple[Tensor, Tensor | None] = self.front_end(waves, lengths, None if masks is None else masks.channels)
        return scale_gradient(frames[0], self.in_training.feature_grad_mult), frames[1]

    def transform(
        self,
        x: Float[Tensor, "batch frames dim"],
        n_frames: Int[Tensor, " batch"] | None,
        masks: EncoderMasks | None = None,
    ) -> Iterator[Float[Tensor, "batch frames dim"]]:
        """Projected frames to hidden states h0..hN (h0 = input of the first layer), one by one.

        Each is computed when it is asked for: who needs no later layer pays for none, who keeps no state holds none.
        """
        valid = None if n_frames is None else valid_positions(n_frames, x.shape[1])
        if valid is not None:
            x = x.masked_fill(~valid[:, :, None], 0.0)
        x = self.position(x, valid)
        if not self.architecture.layer_norm_first:
            x = self.norm(x)
        x = self.dropout(x)
        bias = None if self.position_bias is None else self.position_bias(x.shape[1])
        key_is_valid = None if valid is None else valid[:, None, None]
        last = len(self.layers) - 1
        yield x
        for index, layer in enumerate(self.layers):
            x = layer(x, bias, key_is_valid, None if masks is None else masks.layers[index])
            yield self.norm(x) if index == last and self.architecture.layer_norm_first else x

    def walk(
        self,
        waves: Float[Tensor, "batch samples"],
        masks: EncoderMasks | None = None,
        *,
        layer_zero: LayerZero = "first_layer_input",
    ) -> Iterator[Float[Tensor, "batch frames dim"]]:
        """As :meth:`forward` for utterances of one length, the hidden states one by one."""
        channels, _ = self.frames(waves, None, masks)
        projected = self._project(channels, masks)
        return beginning(projected, self.transform(projected, None, masks), layer_zero)

    def _project(
        self, channels: Float[Tensor, "batch frames channels"], masks: EncoderMasks | None
    ) -> Float[Tensor, "batch frames dim"]:
        last_mask = None if masks is None or masks.channels is None else masks.channels[-1]
        projected: Tensor = self.projection(channels, last_mask)
        rate = self.in_training.projection
        return F.dropout(projected, rate) if self.training and rate else projected

    def forward(
        self,
        waves: Float[Tensor, "batch samples"],
        lengths: Int[Tensor, " batch"] | None = None,
        masks: EncoderMasks | None = None,
    ) -> tuple[list[Float[Tensor, "batch frames dim"]], Int[Tensor, " batch"]]:
        """Hidden states h0..hN and frames of each utterance.

        Args:
            waves: 16 kHz mono, padded on the right.
            lengths: samples of each utterance; None when nothing is padded. An utterance's states do not depend on
                the others of its batch: neither norms, nor attention, nor the convolutions see padding.
            masks: gate values, while a student is being pruned.

        In pre-norm ("large") models only the last state has passed the final LayerNorm.
        """
        if lengths is not None and bool((lengths == waves.shape[1]).all()):
            lengths = None
        states, n_frames = self.padded(waves, lengths, masks)
        if n_frames is None:
            n_frames = torch.full((waves.shape[0],), states[0].shape[1], device=waves.device)
        return states, n_frames

    def padded(
        self,
        waves: Float[Tensor, "batch samples"],
        lengths: Int[Tensor, " batch"] | None,
        masks: EncoderMasks | None = None,
    ) -> tuple[list[Float[Tensor, "batch frames dim"]], Int[Tensor, " batch"] | None]:
        """As :meth:`forward`, without looking at ``lengths``: nothing waits for a device."""
        channels, n_frames = self.frames(waves, lengths, masks)
        return list(self.transform(self._project(channels, masks), n_frames, masks)), n_frames


def beginning(
    projected: Float[Tensor, "*batch dim"], states: Iterator[Float[Tensor, "*batch dim"]], layer_zero: LayerZero
) -> Iterator[Float[Tensor, "*batch dim"]]:
    """The hidden states, of which the first is what ``layer_zero`` says."""
    if layer_zero == "projection":
        yield projected
        next(states)
    yield from states


def pad(waves: list[Float[Tensor, " _own_samples"]]) -> tuple[Float[Tensor, "batch samples"], Int[Tensor, " batch"]]:
    """Utterances side by side, zeros on the right, and their lengths."""
    # Made here and sent: a tensor made on a device is waited for.
    lengths = torch.tensor([len(wave) for wave in waves]).to(waves[0].device, non_blocking=True)
    return nn.utils.rnn.pad_sequence(waves, batch_first=True), lengths


def _initialise(encoder: Encoder) -> None:
    """BERT's normal for the linear layers, He's normal for the convolutions, as wav2vec 2.0 does.

    The standard deviation is BERT's 0.02 at width 768 and grows as the width falls, so that small models start with
    branches of the same size. On the meta device there is nothing to draw, and torch takes its time over it.
    """
    if encoder.norm.weight.is_meta:
        return
    std = 0.02 * math.sqrt(768 / encoder.architecture.dim)
    for module in encoder.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=std)
            nn.init.zeros_(module.bias)
    for layer in encoder.front_end.layers:
        nn.init.kaiming_normal_(layer.conv.weight)  # type: ignore[union-attr, arg-type]
