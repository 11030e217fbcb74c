"""An utterance's hidden states do not depend on its batch: any shape, any lengths."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from skill_bench.models.architecture import Architecture, ConvShape, LayerShape, RelativePosition
from skill_bench.models.encoder import Encoder, pad

# Float32 sums in another order; hidden states are of order 1.
TOLERANCE = 1e-4
N_HEADS, HEAD_DIM = 4, 8


@st.composite
def architectures(draw: st.DrawFn) -> Architecture:
    heads = st.sets(st.integers(0, N_HEADS - 1)).map(lambda kept: tuple(sorted(kept)))
    layers = st.lists(
        st.builds(LayerShape, heads=heads, ffn_dim=st.sampled_from([0, 1, 7, 20])), min_size=1, max_size=3
    )
    channels = draw(st.lists(st.integers(2, 9), min_size=7, max_size=7))
    kernels = ((10, 5), (3, 2), (3, 2), (3, 2), (3, 2), (2, 2), (2, 2))
    return Architecture(
        convs=tuple(ConvShape(channels=c, kernel=k, stride=s) for c, (k, s) in zip(channels, kernels, strict=True)),
        conv_bias=draw(st.booleans()),
        conv_norm=draw(st.sampled_from(["group_norm", "layer_norm"])),
        channel_scale=draw(st.booleans()),
        dim=N_HEADS * HEAD_DIM,
        n_heads=N_HEADS,
        head_dim=HEAD_DIM,
        layers=tuple(draw(layers)),
        position_kernel=draw(st.sampled_from([7, 16])),
        position_groups=4,
        layer_norm_first=draw(st.booleans()),
        normalize_waveform=draw(st.booleans()),
        relative_position=draw(st.sampled_from([None, RelativePosition(n_buckets=16, max_distance=20)])),
    )


def awake(encoder: Encoder) -> Encoder:
    """Moves the weights far from their small initial values, so that every block has its say."""
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return encoder.eval()


lengths_of_batches = st.lists(st.integers(400, 6000), min_size=2, max_size=4)


@settings(max_examples=60, deadline=None)
@given(shape=architectures(), lengths=lengths_of_batches, seed=st.integers(0, 1000))
def test_features_do_not_depend_on_the_batch(shape: Architecture, lengths: list[int], seed: int) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = awake(Encoder(shape))
        waves = [torch.randn(n) * 0.1 + 0.05 for n in lengths]
    with torch.no_grad():
        batch, counts = encoder(*pad(waves))
        assert counts.tolist() == [shape.n_frames(n) for n in lengths]
        assert len(batch) == len(shape.layers) + 1
        for index, wave in enumerate(waves):
            alone, _ = encoder(wave[None])
            for layer, (together, single) in enumerate(zip(batch, alone, strict=True)):
                n_frames = single.shape[1]
                assert n_frames == counts[index]
                difference = (together[index, :n_frames] - single[0]).abs().max()
                assert difference < TOLERANCE, f"h{layer} of utterance {index}"


@settings(max_examples=20, deadline=None)
@given(shape=architectures(), n=st.integers(400, 4000), padding=st.integers(1, 3000), seed=st.integers(0, 1000))
def test_what_stands_in_the_padding_does_not_matter(shape: Architecture, n: int, padding: int, seed: int) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = awake(Encoder(shape))
        wave, noise = torch.randn(n), torch.randn(padding)
    lengths = torch.tensor([n, n + padding])
    other = torch.randn(n + padding, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        clean, counts = encoder(torch.stack([torch.nn.functional.pad(wave, (0, padding)), other]), lengths)
        noisy, _ = encoder(torch.stack([torch.cat([wave, noise]), other]), lengths)
    for ours, theirs in zip(clean, noisy, strict=True):
        assert (ours[0, : counts[0]] - theirs[0, : counts[0]]).abs().max() < TOLERANCE
