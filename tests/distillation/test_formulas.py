"""The formulas of a distillation, on numbers small enough to work out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from small_models import recipe

from skill_bench.distillation import groups as layer_groups
from skill_bench.distillation.losses import NORMS, Averages, GroupDistillation, group_averages
from skill_bench.distillation.objectives import FinalObjective, JointObjective, teaching
from skill_bench.distillation.recipe import Norm, Recipe
from skill_bench.models.checkpoint import LoadedModel
from skill_bench.models.encoder import Encoder
from skill_bench.models.factories import architecture
from skill_bench.models.layer import EncoderMasks
from skill_bench.pruning.gates import Gates, HardConcrete, each
from skill_bench.pruning.options import Sparsity
from skill_bench.pruning.sparsity import Lagrangian
from skill_bench.records.similarity import Groups, Weights
from skill_bench.training.loop import Schedule


@pytest.mark.parametrize(
    ("ends_at_zero", "warmup", "factors"),
    [
        (False, 4, {0: 1 / 4, 1: 2 / 4, 3: 1.0, 4: 1.0, 7: 3 / 6, 9: 1 / 6}),
        (False, 0, {0: 1.0, 5: 5 / 10, 9: 1 / 10}),
        (False, 10, {0: 1 / 10, 9: 1.0}),
        (True, 4, {0: 1 / 4, 1: 2 / 4, 3: 1.0, 4: 5 / 6, 7: 2 / 6, 8: 1 / 6, 9: 0.0}),
        (True, 0, {0: 9 / 10, 5: 4 / 10, 9: 0.0}),
        (True, 10, {0: 1 / 10, 9: 1.0}),
    ],
)
def test_the_learning_rate_rises_to_its_peak_and_falls_to_the_end(
    ends_at_zero: bool, warmup: int, factors: dict[int, float]
) -> None:
    schedule = Schedule(n_updates=10, learning_rate=1.0, warmup_updates=warmup, ends_at_zero=ends_at_zero)
    assert {update: schedule.factor(update) for update in factors} == pytest.approx(factors, rel=1e-12)  # float64


@pytest.mark.parametrize(("sparsity", "target"), [(0.75, 0.25), (0.25, 0.5)])
def test_the_constraint_is_linear_and_quadratic_in_the_gap(sparsity: float, target: float) -> None:
    lagrangian = Lagrangian()
    lagrangian.linear.data.fill_(3.0)
    lagrangian.quadratic.data.fill_(8.0)
    found = lagrangian(torch.tensor(sparsity, dtype=torch.float64), target)
    found.backward()
    gap = sparsity - target
    # Binary fractions: float32 has no error.
    assert found.item() == {0.5: 3.5, -0.25: -0.25}[gap]
    assert lagrangian.linear.grad == gap
    assert lagrangian.quadratic.grad == gap**2


# States 0 to 4 of a teacher of four layers: one alone, neighbours, and two that are none.
GROUPS = ((0,), (1, 2), (2, 4))
AVERAGES = Averages(groups=GROUPS)


def hidden_states(encoder: Encoder, waves: torch.Tensor, masks: EncoderMasks | None = None) -> list[torch.Tensor]:
    states, _ = encoder(waves, None, masks)
    return [state.detach().double() for state in states]


def averages(states: list[torch.Tensor]) -> list[torch.Tensor]:
    """The formula, written down again."""
    return [sum(states[layer] for layer in group) / len(group) for group in GROUPS]  # type: ignore[misc]


@pytest.mark.parametrize("stage", ["joint", "final"])
def test_skills_defining_formula_is_the_average_over_a_groups_layers(stage: str, teacher: LoadedModel) -> None:
    """The student's and the teacher's hidden states are averaged over each group, then compared (L1 alone here)."""
    torch.manual_seed(1)
    student = Encoder(teacher.encoder.architecture)
    waves = 0.1 * torch.randn(2, 6000)
    only_l1 = recipe("skill", "loss.l1_weight=1.0", "loss.cosine_weight=0.0").loss
    target = GroupDistillation(dim=32, n_groups=3, options=only_l1)  # its heads start as the identity
    teach = teaching(teacher.encoder, AVERAGES)
    wanted = averages(hidden_states(teacher.encoder, waves))
    for found, expected in zip(teach(waves), wanted, strict=True):
        torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-5)  # float32 over four layers
    masks: EncoderMasks | None = None
    if stage == "joint":
        options = sparsity("channel_drop_rate=0.4", "head_drop_rate=0.5", "ffn_drop_rate=0.6")
        joint = JointObjective(student, target, teach=teach, averages=AVERAGES, options=options, teacher_size=40_000)
        masks = joint.gates.masks(torch.Generator().manual_seed(5))
        _, log = joint(0, waves, torch.Generator().manual_seed(5))
        distance = log["distance"]
    else:
        distance, _ = FinalObjective(student, target, teach=teach, averages=AVERAGES)(0, waves, torch.Generator())
    ours = averages(hidden_states(student, waves, masks))
    expected = torch.stack([(one - other).abs().mean() for one, other in zip(ours, wanted, strict=True)]).mean()
    assert distance.item() == pytest.approx(expected.item(), rel=1e-4)


@pytest.mark.parametrize("layer", range(5))
def test_each_layer_alone_moves_the_averages_of_its_groups(layer: int) -> None:
    """By the share that it has of the group: 1 of one layer, 1/2 of two, nothing elsewhere."""
    states = [torch.full((1, 1, 2), float(10**number)) for number in range(5)]
    before = group_averages(states, GROUPS)
    states[layer] = states[layer] + 8
    moved = [(now - then)[0, 0, 0].item() for now, then in zip(group_averages(states, GROUPS), before, strict=True)]
    # Binary fractions and integers below 2^24: float32 has no error.
    assert moved == [8 / len(group) if layer in group else 0 for group in GROUPS]


def test_weights_of_1_are_the_plain_average_bit_for_bit() -> None:
    states = [torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(number)) for number in range(5)]
    ones = tuple(tuple(1.0 for _ in group) for group in GROUPS)
    for weighted, plain in zip(group_averages(states, GROUPS, weights=ones), AVERAGES(states), strict=True):
        assert torch.equal(weighted, plain)


def test_each_layer_counts_by_its_weight_in_its_group() -> None:
    states = [torch.full((1, 1, 2), float(10**number)) for number in range(5)]
    found = group_averages(states, GROUPS, weights=((1.0,), (0.5, 1.5), (2.0, 0.0)))
    assert [average[0, 0, 0].item() for average in found] == [1, (5 + 150) / 2, 200 / 2]


@pytest.mark.parametrize("name", ["layer", "instance"])
def test_under_a_norm_a_large_state_drowns_no_other(name: Norm) -> None:
    states = [torch.randn(2, 7, 4, generator=torch.Generator().manual_seed(number)) for number in range(5)]
    grown = [100.0 * state + 3.0 if number == 2 else state for number, state in enumerate(states)]
    normed = Averages(groups=GROUPS, norm=name)
    for before, after in zip(normed(states), normed(grown), strict=True):
        torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-3)  # epsilon is not a hundred times larger too
    assert (AVERAGES(grown)[1] - AVERAGES(states)[1]).abs().max() > 10
    assert torch.equal(normed(states)[0], NORMS[name](states[0]))


@pytest.mark.parametrize(("name", "over"), [("layer", 2), ("instance", 1)])
def test_norms_take_mean_and_variance_away_over_dimensions_or_time(name: Norm, over: int) -> None:
    state = 5 + 2 * torch.randn(2, 7, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    variance = state.var(over, keepdim=True, correction=0)
    expected = (state - state.mean(over, keepdim=True)) / (variance + 1e-5).sqrt()
    torch.testing.assert_close(NORMS[name](state), expected, rtol=1e-9, atol=1e-9)


def test_a_head_a_layer_maps_each_layer_alone_to_its_groups_average() -> None:
    """Of layers 0 | 1 2: distances |1 - 4|, then |2 - 16| and |8 - 16|, each layer counting alike."""
    options = recipe("skill", "loss.heads=per_layer", "loss.cosine_weight=0.0")
    shown, answered = targets(options, ((0,), (1, 2)))
    assert shown.groups == ((0,), (1, 2), (1, 2))
    assert answered.groups == ((0,), (1,), (2,))
    target = GroupDistillation(dim=1, n_groups=3, options=options.loss)  # its heads start as the identity
    assert len(target.heads) == 3
    student, teacher = ([torch.full((1, 1, 1), value) for value in of] for of in ((1.0, 2.0, 8.0), (4.0, 12.0, 20.0)))
    found, _ = target(answered(student), shown(teacher))
    assert found.item() == pytest.approx((3 + 14 + 8) / 3, rel=1e-6)  # one rounding of float32


def test_a_head_a_layer_of_groups_of_one_layer_is_a_head_a_group() -> None:
    groups = ((0,), (1,), (2,))
    alone = targets(recipe("skill", "loss.heads=per_layer"), groups)
    assert alone == targets(recipe("skill"), groups)
    assert alone == (Averages(groups=groups), Averages(groups=groups))


def test_a_head_a_layer_answers_for_a_weighted_average() -> None:
    shown, answered = targets(recipe("skill", "loss.heads=per_layer"), ((0,), (1, 2)), weights=((1.0,), (0.5, 1.5)))
    assert (shown.weights, answered.weights) == (((1.0,), (0.5, 1.5), (0.5, 1.5)), None)


def targets(options: Recipe, groups: Groups, weights: Weights | None = None) -> tuple[Averages, Averages]:
    return layer_groups.averages(options, taught=groups, learnt=groups, weights=weights)


# Two groups of two frames of width two. Means of |student - teacher|: 1.25 and 1.75; cosines: 0.96, 0 and -1, 1.
STUDENT = [[[3.0, 4.0], [1.0, 0.0]], [[1.0, 2.0], [2.0, 0.0]]]
TEACHER = [[[4.0, 3.0], [0.0, 2.0]], [[-1.0, -2.0], [1.0, 0.0]]]
LOG_SIGMOID = -np.log1p(np.exp(-np.array([[0.96, 0.0], [-1.0, 1.0]]))).mean(1)


@pytest.mark.parametrize(
    ("l1_weight", "cosine_weight", "cosine", "of_groups"),
    [
        (1.0, 0.0, "plain", (1.25, 1.75)),
        (0.0, 1.0, "plain", (-0.48, 0.0)),
        (2.0, 3.0, "plain", (2 * 1.25 - 3 * 0.48, 2 * 1.75)),
        (2.0, 3.0, "log_sigmoid", (2 * 1.25 - 3 * LOG_SIGMOID[0], 2 * 1.75 - 3 * LOG_SIGMOID[1])),
    ],
)
def test_the_distance_is_l1_minus_the_cosine_averaged_over_groups(
    l1_weight: float, cosine_weight: float, cosine: str, of_groups: tuple[float, float]
) -> None:
    changes = {"l1_weight": l1_weight, "cosine_weight": cosine_weight, "cosine": cosine}
    options = recipe("skill", *(f"loss.{key}={value}" for key, value in changes.items())).loss
    target = GroupDistillation(dim=2, n_groups=2, options=options)  # its heads start as the identity
    found, log = target([torch.tensor([group]) for group in STUDENT], [torch.tensor([group]) for group in TEACHER])
    # Float32: a few roundings of numbers of about 1.
    assert found.item() == pytest.approx(float(np.mean(of_groups)), rel=1e-6, abs=1e-6)
    assert log["l1"].item() == pytest.approx(1.5, rel=1e-6)
    assert log["cosine"].item() == pytest.approx(0.24, rel=1e-6)


@pytest.mark.parametrize(("heads", "numbers"), [("per_group", 3), ("shared", 1), ("first_alone", 2), ("per_layer", 3)])
def test_linear_heads_start_as_the_identity(heads: str, numbers: int) -> None:
    target = GroupDistillation(dim=5, n_groups=3, options=recipe("skill", f"loss.heads={heads}").loss)
    assert len(target.heads) == numbers
    for head in target.heads:
        assert isinstance(head, torch.nn.Linear)
        assert torch.equal(head.weight, torch.eye(5))
        assert not head.bias.any()


def sparsity(*changes: str) -> Sparsity:
    found = recipe("skill", *(f"sparsity.{change}" for change in changes)).sparsity
    assert found
    return found


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


@pytest.mark.parametrize(
    ("log_alpha", "changes", "kept"),
    [
        # With 2/3 ln 11 added, 0.97, 0.08, 0.89 and 0.20 are open: two are kept. 0.8 / (2/3) = 1.2.
        ([2.0, -4.0, 0.5, -3.0], [], [sigmoid(2.4), 0.0, sigmoid(0.6), 0.0]),
        # 0.89, 0.65 and 0.75: two again, where sigmoid(log_alpha) alone gave 1.3.
        ([0.5, -1.0, -0.5], [], [sigmoid(0.6), 0.0, sigmoid(-0.6)]),
        # 1.00, 0.92 and 0.69, with 2 ln 11 added: three.
        (
            [0.5, -2.4, -4.0],
            ["temperature=2.0", "evaluation_slope=0.5"],
            [sigmoid(0.125), sigmoid(-0.6), sigmoid(-1.0)],
        ),
        # The first, with another slope: 1 / (2/3) = 1.5.
        ([2.0, -4.0, 0.5, -3.0], ["evaluation_slope=1.0"], [sigmoid(3.0), 0.0, sigmoid(0.75), 0.0]),
    ],
)
def test_evaluation_keeps_the_likeliest_gates_at_values_of_their_own_slope(
    log_alpha: list[float], changes: list[str], kept: list[float]
) -> None:
    gate = HardConcrete(len(log_alpha), drop_rate=0.5, options=sparsity(*changes)).eval()
    gate.log_alpha.data = torch.tensor(log_alpha)
    assert gate().tolist() == pytest.approx(kept, rel=1e-6)  # float32


def test_gates_start_as_open_as_the_recipe_says() -> None:
    """As DPHuBERT starts them: the sigmoid of log alpha is one minus the drop rate."""
    rates = {"channels": 0.1, "heads": 0.2, "ffn": 0.7, "attention_blocks": 0.4, "ffn_blocks": 0.35}
    keys = dict(zip(rates, ("channel", "head", "ffn", "attention_block", "ffn_block"), strict=True))
    shape = architecture(channels=8, dim=16, n_layers=2, n_heads=2, ffn_dim=12, position_kernel=8, position_groups=2)
    gates = Gates(shape, sparsity(*(f"{keys[kind]}_drop_rate={rate}" for kind, rate in rates.items())))
    counts = {"channels": [8] * 7, "heads": [2] * 2, "ffn": [12] * 2}
    counts |= {"attention_blocks": [1] * 2, "ffn_blocks": [1] * 2}
    for kind, rate in rates.items():
        found = each(getattr(gates, kind))
        assert [len(gate.log_alpha) for gate in found] == counts[kind]
        for gate in found:
            # log alpha is spread by 0.01, the slope of the sigmoid is at most 1/4: six standard deviations.
            assert torch.sigmoid(gate.log_alpha).tolist() == pytest.approx([1 - rate] * len(gate.log_alpha), abs=0.015)
