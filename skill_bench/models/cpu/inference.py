"""The encoder without gradients on a CPU: the same numbers as `Encoder.forward`, in less time and memory.

What is different, and why (measured with ``skill-bench bench``):

- Utterances are rows one after the other. Nothing is padded, so nothing is masked and nothing is computed for padding.
- The front end runs in the layout (frames, channels): a convolution is one or two matrix products over overlapping
  views of its input, and the projection needs no transpose. It runs over pieces of a few seconds, so that its widest
  activations stay in the caches instead of being paged in anew. Odd numbers of channels, which pruning leaves, are
  filled up with zeros, and so are those of feed-forward units.
- GroupNorm after the first convolution is folded into that convolution: mean and variance of each channel over the
  utterance follow from mean and covariance of the waveform's windows, in float64.
- The positional convolution, whose kernels are long, is a product of Fourier transforms in blocks.
- The gated position bias is made for one utterance and layer at a time, for the heads that remain, in one buffer.
- Activations are written in place, and what a block adds to its input is summed up in one product.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from skill_bench.models.attention import SelfAttention
from skill_bench.models.cpu.plain import is_plain
from skill_bench.models.cpu.rows import as_rows, convolve, filled, with_full_lanes
from skill_bench.models.cpu.training import LONG_FRAMES, blockwise
from skill_bench.models.encoder import Encoder, LayerZero, beginning
from skill_bench.models.frontend import ChannelNorm, ConvLayer, FrontEnd, TimeNorm, normalize_waveforms
from skill_bench.models.layer import FeedForward, Layer
from skill_bench.models.position import ConvolutionalPosition

# Frames of the front end's output, and rows of a feed-forward block, that are computed at a time.
_PIECE_FRAMES, _PIECE_ROWS = 200, 512

_gelu_ = torch.ops.aten.gelu_


def applies(encoder: Encoder) -> bool:
    """Whether `hidden_states` is the way to run this encoder now: float32 weights on a CPU, no gradients wanted."""
    weight = encoder.norm.weight
    return (
        not is_plain()
        and not torch.is_grad_enabled()
        and not encoder.training
        and not torch.is_autocast_enabled("cpu")
        and (weight.device.type, weight.dtype) == ("cpu", torch.float32)
    )


@torch.no_grad()
def hidden_states(
    encoder: Encoder, waves: Sequence[Float[Tensor, " _own_samples"]]
) -> list[Float[Tensor, "layers _own_frames dim"]]:
    """States h0..hN of each utterance, which has at least one frame; as `Encoder.forward` gives them, unpadded."""
    rows, bounds = _rows(encoder, waves)
    states = rows.new_empty(len(encoder.layers) + 1, len(rows), encoder.architecture.dim)
    for index, state in enumerate(_walk(encoder, rows, bounds)):
        states[index] = state
    return [states[:, start:end] for start, end in pairwise(bounds)]


@torch.no_grad()
def walk(
    encoder: Encoder, waves: Float[Tensor, "batch samples"], *, layer_zero: LayerZero = "first_layer_input"
) -> Iterator[Float[Tensor, "batch frames dim"]]:
    """As `Encoder.walk`: the states of utterances of one length, one by one, each computed when it is asked for."""
    rows, bounds = _rows(encoder, list(waves))
    for state in beginning(rows, _walk(encoder, rows, bounds), layer_zero):
        yield state.view(len(waves), -1, state.shape[1])


def _rows(
    encoder: Encoder, waves: Sequence[Float[Tensor, " _own_samples"]]
) -> tuple[Float[Tensor, "rows dim"], list[int]]:
    """The projected frames of all utterances, one after the other, and where each begins and ends."""
    pieces = [_frames(encoder, wave.to(encoder.norm.weight.dtype)) for wave in waves]
    bounds = [0]
    for piece in pieces:
        bounds.append(bounds[-1] + len(piece))
    frames = torch.cat(pieces) if len(pieces) > 1 else pieces[0]
    del pieces
    return encoder.projection(frames[None])[0], bounds


def _walk(encoder: Encoder, rows: Float[Tensor, "rows dim"], bounds: list[int]) -> Iterator[Float[Tensor, "rows dim"]]:
    state = _embed(encoder, rows, bounds)
    longest = max(end - start for start, end in pairwise(bounds))
    # The bias depends on the distance of two frames alone, so shorter utterances take a corner of the longest one's.
    bias = None if encoder.position_bias is None else encoder.position_bias(longest).contiguous()
    yield state
    last = len(encoder.layers) - 1
    for index, layer in enumerate(encoder.layers):
        assert isinstance(layer, Layer)
        state = _layer(layer, state, bounds, bias)
        yield encoder.norm(state) if index == last and encoder.architecture.layer_norm_first else state


def _frames(encoder: Encoder, wave: Float[Tensor, " samples"]) -> Float[Tensor, "frames channels"]:
    """The front end's output for one utterance."""
    front_end, architecture = encoder.front_end, encoder.architecture
    if architecture.normalize_waveform:
        wave = normalize_waveforms(wave[None], torch.tensor([len(wave)]), architecture.normalize_eps)[0]
    n_frames, hop = architecture.n_frames(len(wave)), architecture.hop_samples
    layers = [_Convolution(layer, reads_wave=index == 0) for index, layer in enumerate(_conv_layers(front_end))]
    wave = layers[0].fold_norm(wave)
    found = wave.new_empty(n_frames, layers[-1].n_channels)
    for start in range(0, n_frames, _PIECE_FRAMES):
        end = min(start + _PIECE_FRAMES, n_frames)
        x = wave[start * hop : (end - 1) * hop + architecture.receptive_field_samples, None]
        for layer in layers:
            x = layer(x)
        found[start:end] = x[:, : found.shape[1]]
    return found if front_end.channel_scale is None else found.mul_(front_end.channel_scale)


def _conv_layers(front_end: FrontEnd) -> Iterator[ConvLayer]:
    for layer in front_end.layers:
        assert isinstance(layer, ConvLayer)
        yield layer


class _Convolution:
    """One convolution of the front end on (frames, channels), with its norm and GELU."""

    def __init__(self, layer: ConvLayer, *, reads_wave: bool) -> None:
        conv = layer.conv
        self.kernel, self.stride = conv.kernel_size[0], conv.stride[0]
        self.n_channels = conv.out_channels
        self.norm: TimeNorm | ChannelNorm | None = layer.norm
        self.weight = as_rows(with_full_lanes(conv.weight, reads_wave=reads_wave))
        self.bias = None if conv.bias is None else filled(conv.bias)

    def fold_norm(self, wave: Float[Tensor, " samples"]) -> Float[Tensor, " samples"]:
        """Puts the GroupNorm over the whole utterance, if there is one, into weight and bias; returns what they expect.

        That is the waveform without its mean, which the norm would remove: so a large offset costs no precision.
        """
        if not isinstance(self.norm, TimeNorm):
            return wave
        wave = wave - wave.mean()
        windows = wave.unfold(0, self.kernel, self.stride)
        mean = windows.mean(dim=0, dtype=torch.float64)
        covariance = _covariance(windows, mean)
        weight = self.weight.double()
        variance = ((covariance @ weight) * weight).sum(dim=0).clamp(min=0)
        scale = filled(self.norm.weight) * torch.rsqrt(variance + self.norm.eps)
        # The convolution's own bias shifts values and mean alike.
        self.bias = (filled(self.norm.bias) - (mean @ weight) * scale).to(wave.dtype)
        self.weight = (weight * scale).to(wave.dtype)
        self.norm = None
        return wave

    def __call__(self, x: Float[Tensor, "in_frames more_in_channels"]) -> Float[Tensor, "frames more_channels"]:
        y = convolve(x, self.weight, stride=self.stride)
        if self.bias is not None:
            y.add_(self.bias)
        if self.norm is not None:
            own = y[:, : self.n_channels]
            own = F.layer_norm(own, self.norm.weight.shape, self.norm.weight, self.norm.bias, self.norm.eps)
            y = filled(own)
        _gelu_(y)
        return y


def _covariance(windows: Float[Tensor, "n kernel"], mean: Float[Tensor, " kernel"]) -> Float[Tensor, "kernel kernel"]:
    total = torch.zeros(len(mean), len(mean), dtype=torch.float64)
    for part in torch.split(windows, 1 << 16):
        centred = part.double() - mean
        total.addmm_(centred.T, centred)
    return total / len(windows)


def _embed(encoder: Encoder, rows: Float[Tensor, "rows dim"], bounds: list[int]) -> Float[Tensor, "rows dim"]:
    """Adds the convolutional position embedding, and normalises in post-norm models."""
    out = torch.empty_like(rows)
    if isinstance(encoder.position, ConvolutionalPosition):
        _add_positions(encoder.position, rows, bounds, out)
    else:  # rare kinds, as they are written down
        for start, end in pairwise(bounds):
            out[start:end] = encoder.position(rows[None, start:end])[0]
    return out if encoder.architecture.layer_norm_first else encoder.norm(out)


def _add_positions(
    position: ConvolutionalPosition, rows: Float[Tensor, "rows dim"], bounds: list[int], out: Float[Tensor, "rows dim"]
) -> None:
    conv = position.conv
    weight = conv.weight  # weight normalisation is computed at each access
    for start, end in pairwise(bounds):
        x = rows[start:end]
        if end - start >= LONG_FRAMES:  # of the utterance, so that its features do not depend on its batch
            embedded = blockwise(x.T[None], position.spectra(), kernel=weight.shape[2])[0].T + conv.bias
        else:
            embedded = F.conv1d(x.T[None], weight, conv.bias, padding=conv.padding, groups=conv.groups)[
                0, :, : len(x)
            ].T
        torch.add(x, _gelu_(embedded.contiguous()), out=out[start:end])


def _layer(
    layer: Layer, x: Float[Tensor, "rows dim"], bounds: list[int], bias: Float[Tensor, "heads frames frames"] | None
) -> Float[Tensor, "rows dim"]:
    """`Layer.forward` on rows."""
    if layer.attention is not None:
        x = _attend(layer.attention, layer.attention_norm(x) if layer.norm_first else x, bounds, bias, onto=x)
    if not layer.norm_first:
        x = layer.attention_norm(x)
    if layer.feed_forward is not None:
        x = _feed(layer.feed_forward, layer.final_norm(x) if layer.norm_first else x, onto=x)
    return x if layer.norm_first else layer.final_norm(x)


def _attend(
    attention: SelfAttention,
    x: Float[Tensor, "rows dim"],
    bounds: list[int],
    bias: Float[Tensor, "heads frames frames"] | None,
    *,
    onto: Float[Tensor, "rows dim"],
) -> Float[Tensor, "rows dim"]:
    n_heads = len(attention.heads)
    query, key, value = (
        linear(x).view(-1, n_heads, attention.head_dim).transpose(0, 1)
        for linear in (attention.query, attention.key, attention.value)
    )
    gates = None if attention.gate is None else attention.gate(x[None])[0]
    merged = x.new_empty(len(x), n_heads, attention.head_dim)
    buffer = None if bias is None else bias.new_empty(n_heads * bias.shape[1] ** 2)
    for start, end in pairwise(bounds):
        n = end - start
        gated = None
        if gates is not None:
            assert bias is not None
            assert buffer is not None
            gated = buffer[: n_heads * n * n].view(n_heads, n, n)
            for i, head in enumerate(attention.heads):
                torch.mul(gates[i, start:end], bias[head, :n, :n], out=gated[i])
        attended = F.scaled_dot_product_attention(
            query[None, :, start:end],
            key[None, :, start:end],
            value[None, :, start:end],
            attn_mask=None if gated is None else gated[None],
        )
        merged[start:end] = attended[0].transpose(0, 1)
    return torch.add(onto, attention.out.bias).addmm_(merged.flatten(1), attention.out.weight.T)


def _feed(
    block: FeedForward, x: Float[Tensor, "rows dim"], *, onto: Float[Tensor, "rows dim"]
) -> Float[Tensor, "rows dim"]:
    up, bias, down = filled(block.up.weight.T), filled(block.up.bias), filled(block.down.weight).T
    out = torch.add(onto, block.down.bias)
    for piece, target in zip(torch.split(x, _PIECE_ROWS), torch.split(out, _PIECE_ROWS), strict=True):
        target.addmm_(_gelu_(torch.addmm(bias, piece, up)), down)
    return out
