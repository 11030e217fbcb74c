"""Pre-training recipes: the bundled one, what can be changed, and messages for faults.

What is masked and what is added: how much, where, and nothing else.

Units: nearest centroids of standardised features, of several clusterings at once, kept and read again.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from skill_bench.base.errors import SpecError, UnknownName
from skill_bench.models.encoder import Encoder
from skill_bench.models.factories import architecture
from skill_bench.pretraining.objective import corrupted, masked_spans
from skill_bench.pretraining.recipe import Clustering, Corruption, Masking, load_recipe, names
from skill_bench.pretraining.units import Features, MfccFeatures, Targets
from skill_bench.training.loop import Schedule

CPU = torch.device("cpu")
SHAPE = architecture(
    channels=8, dim=16, n_layers=3, n_heads=2, ffn_dim=32, position_kernel=8, position_groups=2
)  # fmt: skip
CLUSTERINGS = (
    Clustering(features=2, n_units=5),
    Clustering(features="mfcc", n_units=3),
    Clustering(features=1, n_units=4),
)


def test_the_bundled_recipes_are_valid() -> None:
    assert "small" in names()
    for name in names():
        assert load_recipe(name).name == name


def test_an_iteration_may_be_changed_or_left_out(tmp_path: Path) -> None:
    recipe = load_recipe("small", changes=["iterations.first=false", "iterations.second.learning_rate=1e-4"])
    assert list(recipe.rounds) == ["second"]
    assert (recipe.rounds["second"].learning_rate, recipe.rounds["second"].n_updates) == (1e-4, 500)
    (tmp_path / "mine.toml").write_text(
        'extends = "small"\n[iterations.third]\nunits = [{ features = 6, n_units = 9 }]\nn_updates = 40\n'
        "learning_rate = 1e-3\nwarmup_updates = 10\nfinal_factor = 0.1\n"
    )
    longer = load_recipe(str(tmp_path / "mine.toml"), scale_updates=0.5)
    assert [(name, one.n_updates) for name, one in longer.rounds.items()] == [
        ("first", 550), ("second", 250), ("third", 20),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("iterations.first.unit=[]", r"unknown key 'iterations\.first\.unit'\. Did you mean 'units'\?"),
        ("iterations.first.units=[{features='plp', n_units=3}]", r"key 'iterations\.first\.units.*': .*'mfcc'"),
        ("iterations.first.units=[]", r"key 'iterations\.first\.units': .*at least 1 item"),
        ("masking.start_probability=1.5", r"key 'masking\.start_probability': .*less than or equal to 1"),
    ],
)  # fmt: skip
def test_faults_name_the_key_and_the_nearest(change: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        load_recipe("small", changes=[change])


def test_the_learning_rate_falls_to_the_share_that_a_recipe_names() -> None:
    schedule = Schedule(n_updates=10, learning_rate=1.0, warmup_updates=4, final_factor=0.4)
    found = [schedule.factor(update) for update in (0, 3, 4, 7, 10)]
    assert found == pytest.approx([1 / 4, 1.0, 1.0, 0.4 + 0.6 / 2, 0.4], rel=1e-12)  # float64


def test_a_recipe_that_learns_nothing_is_refused() -> None:
    with pytest.raises(SpecError, match=r"iterations: every one is false, so nothing is learnt"):
        load_recipe("small", changes=["iterations.first=false", "iterations.second=false"])


def test_an_unknown_recipe() -> None:
    with pytest.raises(UnknownName, match=r"unknown recipe 'smal'\. Did you mean 'small'\?"):
        load_recipe("smal")


def corruption(**changes: object) -> Corruption:
    silent = {"mixing_probability": 0.0, "mixing_db": (0, 0), "noise_probability": 0.0, "noise_db": (0, 0)}
    return Corruption.model_validate({**silent, "gain_db": 0.0, **changes})


@pytest.fixture
def waves() -> Tensor:
    torch.manual_seed(3)
    return torch.randn(3, 8000) * torch.tensor([[0.1], [0.2], [0.4]])


def test_spans_have_their_length_and_cover_what_is_expected() -> None:
    torch.manual_seed(0)
    spans = masked_spans(Masking(start_probability=0.05, n_frames=7), 64, 500, device=CPU)
    expected = 1 - 0.95**7
    assert spans[:, 6:].float().mean().item() == pytest.approx(expected, abs=0.02)  # 32,000 frames in spans of 7
    starts = spans[:, 1:] & ~spans[:, :-1]
    runs = [len(run) for row in spans.int().tolist() for run in "".join(map(str, row)).split("0") if run]
    assert int(starts.sum()) > 500
    inner = [run for row in spans.int().tolist() for run in "".join(map(str, row)).strip("1").split("0") if run]
    assert min(map(len, inner)) == 7
    assert max(runs) > 7
    assert bool(masked_spans(Masking(start_probability=1.0, n_frames=1), 2, 9, device=CPU).all())


def test_without_corruption_speech_is_what_it_was(waves: Tensor) -> None:
    assert torch.equal(corrupted(waves, corruption()), waves)


def test_gain_is_one_factor_an_utterance_within_its_range(waves: Tensor) -> None:
    torch.manual_seed(0)
    ratio = corrupted(waves, corruption(gain_db=6.0)) / waves
    torch.testing.assert_close(ratio, ratio[:, :1].expand_as(ratio), rtol=1e-5, atol=0)  # float32 rounding
    decibels = 20 * ratio[:, 0].log10()
    assert decibels.abs().max() <= 6.0
    assert decibels.std() > 0.5


def test_noise_is_as_far_below_as_it_was_drawn(waves: Tensor) -> None:
    torch.manual_seed(0)
    added = corrupted(waves, corruption(noise_probability=1.0, noise_db=(10, 20))) - waves
    below = 10 * (waves.square().mean(1) / added.square().mean(1)).log10()
    assert 9.8 < below.min() <= below.max() < 20.2  # the power of 8,000 drawn values is within 0.2 dB of its mean
    assert below.std() > 0.5


def test_another_utterance_is_mixed_into_one_stretch_of_at_most_half(waves: Tensor) -> None:
    torch.manual_seed(0)
    added = corrupted(waves, corruption(mixing_probability=1.0, mixing_db=(5, 5))) - waves
    found = 0
    for row, own in zip(added, waves, strict=True):
        inside = row.nonzero().flatten()
        if len(inside) == 0:
            continue
        found += 1
        assert int(inside[-1] - inside[0]) + 1 == len(inside) <= 4000
        sources = [row[inside] / other[inside] for other in waves]
        scale = min(sources, key=lambda ratio: float(ratio.std()))
        other = waves[[float(ratio.std()) for ratio in sources].index(float(scale.std()))]
        power = (scale.mean() ** 2 * other.square().mean()) / own.square().mean()
        assert 10 * power.log10().item() == pytest.approx(-5, abs=0.01)
    assert found == 3


@pytest.fixture
def encoder() -> Encoder:
    torch.manual_seed(0)
    return Encoder(SHAPE)


@pytest.fixture
def noises() -> Tensor:
    torch.manual_seed(1)
    return 0.1 * torch.randn(2, 8000)


def test_features_are_the_hidden_states_asked_for(encoder: Encoder, noises: Tensor) -> None:
    found = Features(encoder, {0, 2, "mfcc"})(noises)
    with torch.no_grad():  # gradients take another way, with other rounding
        states, _ = encoder.eval()(noises)
    assert set(found) == {0, 2, "mfcc"}
    for layer in (0, 2):
        assert torch.equal(found[layer], states[layer])
    assert torch.equal(found["mfcc"], MfccFeatures()(noises))


def test_layers_above_the_highest_are_not_computed(encoder: Encoder, noises: Tensor) -> None:
    features = Features(encoder, {1})
    encoder.layers[1].register_forward_hook(lambda *_: pytest.fail("layer 2 was computed"))
    assert set(features(noises)) == {1}


def test_each_frame_has_the_nearest_centroid_of_every_clustering(encoder: Encoder, noises: Tensor) -> None:
    targets = Targets(encoder, CLUSTERINGS)
    targets.fit([noises, noises.flip(1)], seed=0)
    found = targets(noises)
    features = targets.features(noises)
    assert found.shape == (3, 2, 24)
    for clustering, units, unit in zip(CLUSTERINGS, targets.units, found, strict=True):
        both = torch.cat([features[clustering.features], targets.features(noises.flip(1))[clustering.features]])
        mean, std = both.mean((0, 1)), both.flatten(0, 1).std(0)
        standardised = (features[clustering.features] - mean) / std
        centroids = units.get_buffer("centroids")
        assert centroids.shape[0] == clustering.n_units
        assert torch.equal(unit, torch.cdist(standardised, centroids.expand(2, -1, -1)).argmin(2))
        assert len(unit.unique()) > 1


def test_what_was_found_is_read_again(encoder: Encoder, noises: Tensor) -> None:
    targets, again = Targets(encoder, CLUSTERINGS), Targets(encoder, CLUSTERINGS)
    targets.fit([noises], seed=0)
    assert not torch.equal(again(noises), targets(noises))
    again.units.load_state_dict(targets.units.state_dict())
    assert torch.equal(again(noises), targets(noises))
