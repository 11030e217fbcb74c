"""Discrete units that a teacher learns to predict: k-means clusters of MFCC, then of hidden states (HuBERT)."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence

import torch
import torchaudio
from jaxtyping import Float, Int
from sklearn.cluster import MiniBatchKMeans
from torch import Tensor, nn

from skill_bench.models.encoder import Encoder


class MfccFeatures(nn.Module):
    """13 MFCC with first and second differences, one frame each 20 ms, aligned with the encoder's frames.

    An encoder frame starts at sample 320 t and sees 400 samples; so does every second frame of a 25 ms / 10 ms MFCC
    without centring. The utterance's mean is removed, so that clusters tell sounds and not recordings.
    """

    DIM = 39

    def __init__(self) -> None:
        super().__init__()
        settings = {"n_fft": 400, "hop_length": 160, "n_mels": 40, "center": False}
        self.mfcc = torchaudio.transforms.MFCC(sample_rate=16_000, n_mfcc=13, melkwargs=settings)

    @torch.no_grad()
    def forward(self, waves: Float[Tensor, "batch samples"]) -> Float[Tensor, "batch frames 39"]:
        static = self.mfcc(waves)
        static = static - static.mean(2, keepdim=True)
        first = torchaudio.functional.compute_deltas(static)
        second = torchaudio.functional.compute_deltas(first)
        features: Tensor = torch.cat([static, first, second], 1)[:, :, ::2].transpose(1, 2)
        return features


class HiddenFeatures(nn.Module):
    """One hidden state of a frozen encoder."""

    def __init__(self, encoder: Encoder, layer: int) -> None:
        super().__init__()
        self.encoder, self.layer = encoder.eval().requires_grad_(False), layer

    @torch.no_grad()
    def forward(self, waves: Float[Tensor, "batch samples"]) -> Float[Tensor, "batch frames dim"]:
        states = itertools.islice(self.encoder.walk(waves), self.layer, None)  # those above are not computed
        return next(states)


class Units(nn.Module):
    """Nearest centroid of each frame's standardised features, in each of several clusterings."""

    mean: Float[Tensor, " dim"]
    std: Float[Tensor, " dim"]

    def __init__(self, features: nn.Module, *, n_units: Sequence[int], dim: int) -> None:
        super().__init__()
        self.features = features
        self.clusterings = nn.ParameterList(nn.Parameter(torch.zeros(n, dim), requires_grad=False) for n in n_units)
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("std", torch.ones(dim))

    def fit(self, batches: Iterable[Float[Tensor, "batch samples"]], *, seed: int) -> list[float]:
        """k-means on all frames of ``batches``; returns each clustering's mean squared distance to the centroids."""
        frames = torch.cat([self.features(waves).flatten(0, 1) for waves in batches])
        self.mean, self.std = frames.mean(0), frames.std(0).clamp(min=1e-5)
        standardised = ((frames - self.mean) / self.std).cpu().numpy()
        distances = []
        for centroids in self.clusterings:
            kmeans = MiniBatchKMeans(len(centroids), batch_size=10_000, n_init=5, max_iter=100, random_state=seed)
            kmeans.fit(standardised)
            centroids.data = torch.from_numpy(kmeans.cluster_centers_).to(frames)
            distances.append(float(kmeans.inertia_ / len(standardised)))
        return distances

    def clustering_state(self) -> dict[str, Tensor]:
        """What :meth:`fit` found; the features are not part of it."""
        return {name: value for name, value in self.state_dict().items() if not name.startswith("features.")}

    def load_clusterings(self, state: Mapping[str, Tensor]) -> None:
        """Takes what :meth:`clustering_state` gave.

        Raises:
            RuntimeError: of other clusterings.
        """
        self.load_state_dict({**self.state_dict(), **state})

    @torch.no_grad()
    def forward(self, waves: Float[Tensor, "batch samples"]) -> Int[Tensor, "clusterings batch frames"]:
        """Distances are taken in full precision, also where the features are not."""
        features = self.features(waves).float()
        with torch.autocast(features.device.type, enabled=False):
            frames = (features - self.mean) / self.std
            return torch.stack([(c.square().sum(1) - 2 * frames @ c.T).argmin(2) for c in self.clusterings])
