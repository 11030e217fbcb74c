from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

from skill_bench.probes import heads, lstm
from skill_bench.probes.parameters import Parameters, repeat, weighted_sum
from skill_bench.tasks import Head, SpecAugment

LINEAR = Head(type="linear", projection_dim=8)
BLSTM = Head(type="blstm", projection_dim=8, hidden_dims=(5, 4), dropout=0.3)
LENGTHS = [7, 3, 11]


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _random_parameters(head: Head, *, cells: int = 1, seed: int = 0) -> Parameters:
    one = heads.initial(head, n_layers=3, dim=6, n_outputs=4, generator=_generator(seed))
    one[heads.LAYER_SCORES] = torch.randn(3, generator=_generator(seed + 1))
    return repeat(one, cells=cells, device=torch.device("cpu"))


def _features(lengths: list[int] = LENGTHS) -> Tensor:
    return torch.randn(3, sum(lengths), 6, generator=_generator(2))


def test_pooled_linear_probe_is_the_frame_wise_computation() -> None:
    """s3prl: weighted sum of frames, projection, mean over time, output layer."""
    parameters = _random_parameters(LINEAR)
    frames = [torch.randn(3, n, 6, generator=_generator(n)) for n in LENGTHS]
    weights = parameters[heads.LAYER_SCORES][0].softmax(0)
    expected = []
    for utterance in frames:
        summed = (weights[:, None, None] * utterance).sum(0)
        projected = F.linear(summed, parameters["projection.weight"][0], parameters["projection.bias"][0])
        pooled = projected.mean(dim=0)
        expected.append(F.linear(pooled, parameters["output.weight"][0], parameters["output.bias"][0]))
    means = torch.stack([utterance.mean(dim=1) for utterance in frames], dim=1)
    found = heads.logits(LINEAR, parameters, means, lengths=[1] * 3)[0]
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-5, atol=1e-6)


def test_all_layers_start_with_equal_weight() -> None:
    parameters = repeat(
        heads.initial(LINEAR, n_layers=4, dim=6, n_outputs=2, generator=_generator()),
        cells=2,
        device=torch.device("cpu"),
    )
    assert torch.equal(heads.layer_weights(parameters), torch.full((2, 4), 0.25))


def test_weighted_sum_is_not_normalised() -> None:
    features = _features() * torch.tensor([1.0, 100.0, 1.0])[:, None, None]
    found = weighted_sum(torch.zeros(1, 3), features)[0]
    torch.testing.assert_close(found, features.mean(dim=0), rtol=1e-5, atol=1e-5)


def test_initial_layers_are_distributed_as_torchs() -> None:
    head = Head(type="linear", projection_dim=300)
    found = heads.initial(head, n_layers=2, dim=100, n_outputs=5, generator=_generator())
    with torch.random.fork_rng():
        reference = nn.Linear(100, 300)
    assert found["projection.weight"].shape == reference.weight.shape
    assert found["projection.weight"].abs().max() <= 0.1
    assert abs(float(found["projection.weight"].std() / reference.weight.detach().std()) - 1) < 0.02


def _torch_lstm(parameters: Parameters, name: str, *, inputs: int, hidden: int) -> nn.LSTM:
    with torch.random.fork_rng():
        module = nn.LSTM(inputs, hidden, bidirectional=True, batch_first=True)
    state = {
        f"{part}_l0{'_reverse' if direction == 'backward' else ''}": parameters[f"{name}.{direction}.{part}"][0]
        for direction in ("forward", "backward")
        for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    }
    module.load_state_dict(state)
    return module


def test_lstm_is_torchs_on_packed_sequences() -> None:
    one = lstm.initial("x", inputs=6, hidden=5, generator=_generator())
    parameters = repeat(one, cells=1, device=torch.device("cpu"))
    rows = torch.randn(sum(LENGTHS), 6, generator=_generator(3))
    packed = pack_padded_sequence(
        pad_sequence(list(torch.split(rows, LENGTHS)), batch_first=True),
        torch.tensor(LENGTHS),
        batch_first=True,
        enforce_sorted=False,
    )
    module = _torch_lstm(parameters, "x", inputs=6, hidden=5)
    expected, _ = pad_packed_sequence(module(packed)[0], batch_first=True)
    found = lstm.apply(parameters, "x", rows[None], lengths=LENGTHS)[0]
    for utterance, (padded, n) in zip(torch.split(found, LENGTHS), zip(expected, LENGTHS, strict=True), strict=True):
        torch.testing.assert_close(utterance, padded[:n], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("head", [LINEAR, BLSTM], ids=["linear", "blstm"])
def test_logits_and_gradients_do_not_depend_on_batch_mates(head: Head) -> None:
    features = _features()
    together = _random_parameters(head)
    out = heads.logits(head, together, features, lengths=LENGTHS)
    out.square().sum().backward()  # type: ignore[no-untyped-call]
    alone = _random_parameters(head)
    parts = [heads.logits(head, alone, part, lengths=[part.shape[1]]) for part in torch.split(features, LENGTHS, dim=1)]
    torch.cat(parts, dim=1).square().sum().backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(out, torch.cat(parts, dim=1), rtol=1e-5, atol=1e-6)
    for name, value in together.items():
        torch.testing.assert_close(value.grad, alone[name].grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("head", [LINEAR, BLSTM], ids=["linear", "blstm"])
def test_cells_are_independent(head: Head) -> None:
    parameters = {
        name: torch.cat([value.detach(), 2 * value.detach()]).requires_grad_()
        for name, value in _random_parameters(head).items()
    }
    both = heads.logits(head, parameters, _features(), lengths=LENGTHS)
    for cell in range(2):
        single = {name: value.detach()[cell : cell + 1] for name, value in parameters.items()}
        one = heads.logits(head, single, _features(), lengths=LENGTHS)
        torch.testing.assert_close(both[cell : cell + 1], one, rtol=1e-5, atol=1e-6)
    both[0].sum().backward()  # type: ignore[no-untyped-call]
    assert all(value.grad is not None and not value.grad[1].any() for value in parameters.values())


def test_dropout_and_masks_are_for_training_only_and_equal_for_all_cells() -> None:
    parameters = _random_parameters(BLSTM, cells=2)

    def run(seed: int | None) -> Tensor:
        options = SpecAugment(time_warp_window=1, time_mask_max_frames=3, feature_mask_max_dims=3)
        noise = None if seed is None else heads.Randomness(generator=_generator(seed), spec_augment=options)
        return heads.logits(BLSTM, parameters, _features(), lengths=LENGTHS, randomness=noise)

    assert torch.equal(run(None), run(None))
    assert torch.equal(run(1), run(1))
    assert not torch.equal(run(1), run(2))
    assert not torch.equal(run(1), run(None))
    torch.testing.assert_close(run(1)[0], run(1)[1], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dropout", [0.25, 0.75])
def test_what_dropout_leaves_is_scaled_so_that_the_mean_stays(dropout: float) -> None:
    """The output layer is the identity, so that logits are what the LSTM gave: 0, or 1 / (1 - p) of it."""
    head = Head(type="blstm", hidden_dims=(5,), dropout=dropout)
    one = heads.initial(head, n_layers=3, dim=6, n_outputs=10, generator=_generator())
    one |= {"output.weight": torch.eye(10), "output.bias": torch.zeros(10)}
    parameters = repeat(one, cells=1, device=torch.device("cpu"))
    whole = heads.logits(head, parameters, _features(), lengths=LENGTHS)
    noise = heads.Randomness(generator=_generator(1))
    found = heads.logits(head, parameters, _features(), lengths=LENGTHS, randomness=noise)
    kept = found != 0
    torch.testing.assert_close(found[kept], whole[kept] / (1 - dropout), rtol=1e-6, atol=0)
    # 210 numbers: four standard deviations of the share.
    assert float(kept.float().mean()) == pytest.approx(1 - dropout, abs=0.12)
