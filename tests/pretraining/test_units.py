"""Units: nearest centroids of standardised features, of several clusterings at once, kept and read again."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from skill_bench.models.encoder import Encoder
from skill_bench.models.factories import architecture
from skill_bench.pretraining.recipe import Clustering
from skill_bench.pretraining.units import Features, MfccFeatures, Targets

SHAPE = architecture(
    channels=8, dim=16, n_layers=3, n_heads=2, ffn_dim=32, position_kernel=8, position_groups=2
)  # fmt: skip
CLUSTERINGS = (
    Clustering(features=2, n_units=5),
    Clustering(features="mfcc", n_units=3),
    Clustering(features=1, n_units=4),
)


@pytest.fixture
def encoder() -> Encoder:
    torch.manual_seed(0)
    return Encoder(SHAPE)


@pytest.fixture
def waves() -> Tensor:
    torch.manual_seed(1)
    return 0.1 * torch.randn(2, 8000)


def test_features_are_the_hidden_states_asked_for(encoder: Encoder, waves: Tensor) -> None:
    found = Features(encoder, {0, 2, "mfcc"})(waves)
    with torch.no_grad():  # gradients take another way, with other rounding
        states, _ = encoder.eval()(waves)
    assert set(found) == {0, 2, "mfcc"}
    for layer in (0, 2):
        assert torch.equal(found[layer], states[layer])
    assert torch.equal(found["mfcc"], MfccFeatures()(waves))


def test_layers_above_the_highest_are_not_computed(encoder: Encoder, waves: Tensor) -> None:
    features = Features(encoder, {1})
    encoder.layers[1].register_forward_hook(lambda *_: pytest.fail("layer 2 was computed"))
    assert set(features(waves)) == {1}


def test_each_frame_has_the_nearest_centroid_of_every_clustering(encoder: Encoder, waves: Tensor) -> None:
    targets = Targets(encoder, CLUSTERINGS)
    targets.fit([waves, waves.flip(1)], seed=0)
    found = targets(waves)
    features = targets.features(waves)
    assert found.shape == (3, 2, 24)
    for clustering, units, unit in zip(CLUSTERINGS, targets.units, found, strict=True):
        both = torch.cat([features[clustering.features], targets.features(waves.flip(1))[clustering.features]])
        mean, std = both.mean((0, 1)), both.flatten(0, 1).std(0)
        standardised = (features[clustering.features] - mean) / std
        centroids = units.get_buffer("centroids")
        assert centroids.shape[0] == clustering.n_units
        assert torch.equal(unit, torch.cdist(standardised, centroids.expand(2, -1, -1)).argmin(2))
        assert len(unit.unique()) > 1


def test_what_was_found_is_read_again(encoder: Encoder, waves: Tensor) -> None:
    targets, again = Targets(encoder, CLUSTERINGS), Targets(encoder, CLUSTERINGS)
    targets.fit([waves], seed=0)
    assert not torch.equal(again(waves), targets(waves))
    again.units.load_state_dict(targets.units.state_dict())
    assert torch.equal(again(waves), targets(waves))
