"""The pruned encoder computes what the gated one computes, and the size formula counts it exactly."""

from __future__ import annotations

import statistics
from dataclasses import replace
from typing import Any

import pytest
import torch

from skill_bench.distillation.recipe import load_recipe
from skill_bench.models.architecture import LayerShape, RelativePosition
from skill_bench.models.encoder import Encoder
from skill_bench.models.factories import architecture
from skill_bench.pruning.gates import Gates, HardConcrete
from skill_bench.pruning.options import Sparsity
from skill_bench.pruning.prune import prune
from skill_bench.pruning.sparsity import Block, Sizes, n_parameters, settle

WAVLM = RelativePosition(n_buckets=32, max_distance=80)


def sparsity(*changes: str) -> Sparsity:
    rates = ["channel_drop_rate=0.4", "head_drop_rate=0.5", "ffn_drop_rate=0.6"]
    options = load_recipe("skill", changes=[f"sparsity.{change}" for change in (*rates, *changes)]).sparsity
    assert options
    return options


def gated(
    *changes: str, large: bool = False, relative: RelativePosition | None = WAVLM, seed: int = 0, **rare: Any
) -> tuple[Encoder, Gates]:
    torch.manual_seed(seed)
    shape = architecture(
        channels=12,
        dim=32,
        n_layers=3,
        n_heads=4,
        ffn_dim=24,
        large=large,
        conv_bias=large,
        relative_position=relative,
        position_kernel=8,
        position_groups=4,
    )
    shape = replace(shape, **rare)
    encoder = Encoder(shape).eval()
    for parameter in encoder.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    gates = Gates(shape, sparsity(*changes))
    for parameter in gates.parameters():
        parameter.data += torch.randn_like(parameter)
    return encoder, gates.eval()


BLOCKS = ("attention_block_drop_rate=0.4", "ffn_block_drop_rate=0.4")
KINDS = {
    "units": (),
    "blocks and units": BLOCKS,
    "blocks alone": (*BLOCKS, "channel_drop_rate=false", "head_drop_rate=false", "ffn_drop_rate=false"),
    "channels alone": ("head_drop_rate=false", "ffn_drop_rate=false"),
    "heads alone": ("channel_drop_rate=false", "ffn_drop_rate=false"),
    "feed-forward units alone": ("channel_drop_rate=false", "head_drop_rate=false"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("relative", [WAVLM, None], ids=["wavlm", "hubert"])
@pytest.mark.parametrize("large", [False, True], ids=["base", "large"])
def test_pruned_equals_gated(large: bool, relative: RelativePosition | None, kind: str) -> None:
    assert_pruned_equals_gated(*gated(*KINDS[kind], large=large, relative=relative, seed=2))


@pytest.mark.parametrize(
    "rare",
    [
        {"projection_norm": False},
        {"position_norm": "layer_norm", "position_depth": 3, "position_kernel": 5},
        {"position_norm": "batch_norm"},
    ],
    ids=str,
)
def test_pruned_equals_gated_in_rare_shapes(rare: dict[str, Any]) -> None:
    assert_pruned_equals_gated(*gated(relative=None, seed=2, **rare))


def assert_pruned_equals_gated(encoder: Encoder, gates: Gates) -> None:
    for shut in [*gates.attention_blocks[1:2], *gates.ffn_blocks[:1]]:
        shut.log_alpha.data.fill_(-20)
    waves = torch.randn(2, 8000)
    with torch.no_grad():
        expected, _ = encoder(waves, None, gates.masks())
        small = prune(encoder, gates.masks())
        found, _ = small(waves)
    n_small, n_whole = (sum(p.numel() for p in each.parameters()) for each in (small, encoder))
    assert n_small < n_whole
    shape = replace(encoder.architecture, channel_scale=small.architecture.channel_scale)
    assert n_small == n_parameters(shape, Sizes.kept(gates, shape))
    assert len(found) == len(expected) == 4
    for layer, (ours, reference) in enumerate(zip(found, expected, strict=True)):
        # float32 sums in another order
        torch.testing.assert_close(ours, reference, rtol=1e-4, atol=1e-5, msg=f"hidden state {layer} differs")


def test_a_shut_attention_block_leaves_the_position_bias_to_later_layers() -> None:
    encoder, gates = gated(*BLOCKS)
    for index, gate in enumerate([*gates.attention_blocks, *gates.ffn_blocks]):
        gate.log_alpha.data.fill_(-20 if index == 0 else 2)
    waves = torch.randn(1, 6000)
    with torch.no_grad():
        expected, _ = encoder(waves, None, gates.masks())
        small = prune(encoder, gates.masks())
        found, _ = small(waves)
    assert [bool(layer.heads) for layer in small.architecture.layers] == [False, True, True]
    assert small.position_bias is not None
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)  # float32 sums in another order


@pytest.mark.parametrize("kind", KINDS)
def test_at_convergence_the_expected_size_is_the_number_of_parameters(kind: str) -> None:
    encoder, gates = gated(*KINDS[kind], seed=1)
    for parameter in gates.parameters():
        parameter.data = torch.where(parameter > 0, 200.0, -200.0)
    for parameter in gates.channels.parameters():
        parameter.data[0] = 200.0  # no convolution may lose its last channel
    small = prune(encoder, gates.masks())
    shape = replace(encoder.architecture, channel_scale=small.architecture.channel_scale)
    with torch.no_grad():
        expected = float(n_parameters(shape, Sizes.expected(gates, shape)))
    assert expected == sum(p.numel() for p in small.parameters())


def test_the_expected_size_is_the_mean_over_samples() -> None:
    encoder, gates = gated(*BLOCKS)
    shape = replace(encoder.architecture, channel_scale=True)
    with torch.no_grad():
        expected = float(n_parameters(shape, Sizes.expected(gates, shape)))
    generator, counts = torch.Generator().manual_seed(0), []
    gates.train()
    for _ in range(4000):
        masks = gates.masks(generator)
        assert masks.channels is not None
        layers = [(bool(m.attention), bool(m.feed_forward), m.heads, m.ffn) for m in masks.layers]
        sampled = Sizes(
            channels=[float((mask != 0).sum()) for mask in masks.channels if mask is not None],
            attention=[Block.of(int((h != 0).sum()), is_open=a) for a, _, h, _ in layers if h is not None],
            feed_forward=[Block.of(int((u != 0).sum()), is_open=f) for _, f, _, u in layers if u is not None],
        )
        counts.append(float(n_parameters(shape, sampled)))
    mean, error = statistics.mean(counts), statistics.stdev(counts) / len(counts) ** 0.5
    assert abs(mean - expected) < 4 * error  # four standard errors


@pytest.mark.parametrize("index", [0, 1])
def test_a_block_whose_units_are_all_shut_is_removed_and_later_layers_keep_the_position_bias(index: int) -> None:
    encoder, gates = gated()
    for gate in (gates.heads[index], gates.ffn[index]):
        assert isinstance(gate, HardConcrete)
        gate.log_alpha.data.fill_(-20)
    waves = torch.randn(1, 6000)
    with torch.no_grad():
        expected, _ = encoder(waves, None, gates.masks())
        small = prune(encoder, gates.masks())
        found, _ = small(waves)
    assert small.architecture.layers[index] == LayerShape(heads=(), ffn_dim=0)
    assert small.position_bias is not None
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)  # float32 sums in another order


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("relative", [WAVLM, None], ids=["wavlm", "hubert"])
@pytest.mark.parametrize("large", [False, True], ids=["base", "large"])
def test_the_formula_counts_parameters_exactly(large: bool, relative: RelativePosition | None, seed: int) -> None:
    encoder, gates = gated(large=large, relative=relative, seed=seed)
    for each in (encoder, prune(encoder, gates.masks())):
        assert n_parameters(each.architecture, Sizes.of(each.architecture)) == sum(p.numel() for p in each.parameters())


def test_expected_size_falls_when_gates_shut_and_has_a_gradient() -> None:
    encoder, gates = gated()
    size = n_parameters(encoder.architecture, Sizes.expected(gates, encoder.architecture))
    assert isinstance(size, torch.Tensor)
    size.backward()  # type: ignore[no-untyped-call]
    gradients = [parameter.grad for parameter in gates.parameters()]
    assert len(gradients) == 13
    assert all(gradient is not None and bool((gradient > 0).all()) for gradient in gradients)


@pytest.mark.parametrize("target", [0.3, 0.5, 0.7])
def test_settling_meets_the_target_and_keeps_the_order_of_units(target: float) -> None:
    encoder, gates = gated()
    order = [parameter.argsort() for parameter in gates.parameters()]
    shape = replace(encoder.architecture, channel_scale=True)  # as the pruned encoder will have it
    full = n_parameters(encoder.architecture, Sizes.of(encoder.architecture))
    settle(gates, shape, target=target, full_size=full)
    assert all(torch.equal(p.argsort(), o) for p, o in zip(gates.parameters(), order, strict=True))
    size = n_parameters(shape, Sizes.kept(gates, shape))
    assert size == sum(p.numel() for p in prune(encoder, gates.masks()).parameters())
    assert float(1 - size / full) == pytest.approx(target, abs=0.03)  # a head of a tiny model
