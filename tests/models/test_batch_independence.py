"""An utterance's hidden states do not depend on its batch: any shape, any lengths."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_encoders import architectures, awake

from skill_bench.models.architecture import Architecture
from skill_bench.models.encoder import Encoder, pad

# In float64, since norms over a few channels may amplify a float32 rounding a thousandfold; states are of order 1.
TOLERANCE = 1e-8

lengths_of_batches = st.lists(st.integers(400, 6000), min_size=2, max_size=4)


@settings(max_examples=60, deadline=None)
@given(shape=architectures(), lengths=lengths_of_batches, seed=st.integers(0, 1000))
def test_features_do_not_depend_on_the_batch(shape: Architecture, lengths: list[int], seed: int) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = awake(Encoder(shape)).double()
        waves = [torch.randn(n).double() * 0.1 + 0.05 for n in lengths]
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
        encoder = awake(Encoder(shape)).double()
        wave, noise = torch.randn(n).double(), torch.randn(padding).double()
    lengths = torch.tensor([n, n + padding])
    other = torch.randn(n + padding, generator=torch.Generator().manual_seed(seed)).double()
    with torch.no_grad():
        clean, counts = encoder(torch.stack([torch.nn.functional.pad(wave, (0, padding)), other]), lengths)
        noisy, _ = encoder(torch.stack([torch.cat([wave, noise]), other]), lengths)
    for ours, theirs in zip(clean, noisy, strict=True):
        assert (ours[0, : counts[0]] - theirs[0, : counts[0]]).abs().max() < TOLERANCE
