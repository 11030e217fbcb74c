"""Discrete units that a teacher learns to predict: k-means clusters of MFCC, then of hidden states (HuBERT)."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Sequence
from typing import Literal

import torch
import torchaudio
from jaxtyping import Float, Int
from sklearn.cluster import MiniBatchKMeans
from torch import Tensor, nn

from skill_bench.base.sample_rate import SAMPLE_RATE_HZ
from skill_bench.models.encoder import Encoder
from skill_bench.pretraining.recipe import Clustering


class MfccFeatures(nn.Module):
    """13 MFCC with first and second differences, one frame each 20 ms, aligned with the encoder's frames.

    An encoder frame starts at sample 320 t and sees 400 samples; so does every second frame of a 25 ms / 10 ms MFCC
    without centring. The utterance's mean is removed, so that clusters tell sounds and not recordings.
    """

    DIM = 39

    def __init__(self) -> None:
        super().__init__()
        settings = {"n_fft": 400, "hop_length": 160, "n_mels": 40, "center": False}
        self.mfcc = torchaudio.transforms.MFCC(sample_rate=SAMPLE_RATE_HZ, n_mfcc=13, melkwargs=settings)

    @torch.no_grad()
    def forward(self, waves: Float[Tensor, "batch samples"]) -> Float[Tensor, "batch frames 39"]:
        static = self.mfcc(waves)
        static = static - static.mean(2, keepdim=True)
        first = torchaudio.functional.compute_deltas(static)
        second = torchaudio.functional.compute_deltas(first)
        features: Tensor = torch.cat([static, first, second], 1)[:, :, ::2].transpose(1, 2)
        return features


class Features(nn.Module):
    """What is clustered: MFCC, hidden states of a frozen encoder, or both, for frames at the same places.

    Args:
        wanted: ``"mfcc"`` or numbers of hidden states; layers above the highest are not computed.
    """

    def __init__(self, encoder: Encoder, wanted: Collection[Literal["mfcc"] | int]) -> None:
        super().__init__()
        self.wanted = wanted
        self.encoder, self.mfcc = encoder.eval().requires_grad_(False), MfccFeatures()

    @torch.no_grad()
    def forward(
        self, waves: Float[Tensor, "batch samples"]
    ) -> dict[Literal["mfcc"] | int, Float[Tensor, "batch frames _dim"]]:
        layers = [name for name in self.wanted if name != "mfcc"]
        walked = itertools.islice(self.encoder.walk(waves), max(layers) + 1 if layers else 0)
        found: dict[Literal["mfcc"] | int, Tensor] = {
            layer: state.float() for layer, state in enumerate(walked) if layer in layers
        }
        return found | ({"mfcc": self.mfcc(waves)} if "mfcc" in self.wanted else {})


class Units(nn.Module):
    """Nearest centroid of each frame's standardised features."""

    centroids: Float[Tensor, "units dim"]
    mean: Float[Tensor, " dim"]
    std: Float[Tensor, " dim"]

    def __init__(self, *, n_units: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("centroids", torch.zeros(n_units, dim))
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("std", torch.ones(dim))

    def fit(self, frames: Float[Tensor, "frames dim"], *, seed: int) -> float:
        """k-means; returns the mean squared distance to the centroids."""
        self.mean, self.std = frames.mean(0), frames.std(0).clamp(min=1e-5)
        standardised = ((frames - self.mean) / self.std).cpu().numpy()
        kmeans = MiniBatchKMeans(len(self.centroids), batch_size=10_000, n_init=5, max_iter=100, random_state=seed)
        kmeans.fit(standardised)
        self.centroids = torch.from_numpy(kmeans.cluster_centers_).to(frames)
        return float(kmeans.inertia_ / len(standardised))

    @torch.no_grad()
    def forward(self, features: Float[Tensor, "batch frames dim"]) -> Int[Tensor, "batch frames"]:
        """Distances are taken in full precision, also where all else is not."""
        with torch.autocast(features.device.type, enabled=False):
            frames = (features - self.mean) / self.std
            distance = self.centroids.square().sum(1) - 2 * frames @ self.centroids.T
            nearest: Tensor = distance.argmin(2)
            return nearest


class Targets(nn.Module):
    """The units of one round: each clustering's, of features that are computed once."""

    def __init__(self, encoder: Encoder, clusterings: Sequence[Clustering]) -> None:
        super().__init__()
        self.clusterings = clusterings
        self.features = Features(encoder, {clustering.features for clustering in clusterings})
        dims = {name: MfccFeatures.DIM if name == "mfcc" else encoder.architecture.dim for name in self.features.wanted}
        self.units = nn.ModuleList(Units(n_units=one.n_units, dim=dims[one.features]) for one in clusterings)

    def fit(self, batches: Iterable[Float[Tensor, "batch samples"]], *, seed: int) -> None:
        """Clusters all frames of ``batches``."""
        heard = [self.features(waves) for waves in batches]
        for clustering, units in zip(self.clusterings, self.units, strict=True):
            units.fit(torch.cat([found[clustering.features].flatten(0, 1) for found in heard]), seed=seed)  # type: ignore[operator]

    def forward(self, waves: Float[Tensor, "batch samples"]) -> Int[Tensor, "clusterings batch frames"]:
        found = self.features(waves)
        return torch.stack(
            [units(found[one.features]) for one, units in zip(self.clusterings, self.units, strict=True)]
        )
