"""Heads, metrics, decoding and augmentation against s3prl's own classes, component by component."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

import skill_bench.s3prl  # noqa: F401  s3prl's modules import only after this
from skill_bench.metrics.edits import character_error_rate, word_error_rate
from skill_bench.metrics.ratio import accuracy
from skill_bench.probes import heads
from skill_bench.probes.heads import spec_augment
from skill_bench.probes.parameters import Parameters, repeat, weighted_sum
from skill_bench.probes.tokens import Tokens
from skill_bench.tasks import Head, SpecAugment

LENGTHS = [31, 17, 44]


def _texts(n: int) -> tuple[list[str], list[str]]:
    """Pairs of texts with every kind of edit, some hypotheses empty."""
    draw = random.Random(0)
    words = ["A", "BE", "SEE", "DEER", "E"]
    targets = [[draw.choice(words) for _ in range(draw.randint(1, 9))] for _ in range(n)]
    found = [[draw.choice([w, w, draw.choice(words)]) for w in t if draw.random() > 0.2] for t in targets]
    inserted = [[*f, draw.choice(words)] if draw.random() > 0.7 else f for f in found]
    assert any(not f for f in inserted)
    return [" ".join(t) for t in targets], [" ".join(f) for f in inserted]


@pytest.mark.parametrize(
    ("name", "ours"), [("wer", word_error_rate), ("per", word_error_rate), ("cer", character_error_rate)]
)
def test_error_rates_are_those_of_the_ctc_downstream(name: str, ours: Any) -> None:
    from s3prl.downstream.ctc import metric

    targets, predictions = _texts(200)
    expected = getattr(metric, name)(hypothesis=predictions, groundtruth=targets)
    found = ours(targets=targets, predictions=predictions)
    assert 0.1 < expected < 0.9
    assert found.percent == pytest.approx(100 * expected, rel=1e-12)


def test_word_error_rate_is_that_of_the_asr_downstream() -> None:
    from s3prl.downstream.asr.expert import DownstreamExpert

    targets, predictions = _texts(200)

    def pieces(texts: list[str]) -> list[str]:
        return [" ".join(text.replace(" ", "|")) for text in texts]

    uer, wer = DownstreamExpert._compute_metrics(
        None, pieces(predictions), [p.split() for p in predictions], pieces(targets), [t.split() for t in targets]
    )
    assert word_error_rate(targets=targets, predictions=predictions).percent == pytest.approx(wer, rel=1e-12)
    assert character_error_rate(targets=targets, predictions=predictions).percent == pytest.approx(uer, rel=1e-12)


def test_accuracy_is_the_mean_of_hits() -> None:
    """s3prl: ``(predicted == labels).float()``, averaged over all utterances (speech_commands/expert.py)."""
    generator = torch.Generator().manual_seed(0)
    labels, predicted = (torch.randint(0, 4, (500,), generator=generator) for _ in range(2))
    expected = (predicted == labels).double().mean().item()
    found = accuracy(targets=[str(i) for i in labels.tolist()], predictions=[str(i) for i in predicted.tolist()])
    assert found.percent == pytest.approx(100 * expected, rel=1e-12)


def test_greedy_decoding_is_that_of_the_asr_downstream() -> None:
    from s3prl.downstream.asr.expert import DownstreamExpert

    vocabulary = (" ", "A", "B", "C")
    scores = torch.randn(3, 60, 5, generator=torch.Generator().manual_seed(0))
    scores[:, :, 0] += 0.5
    symbols = ["<blank>", "|", "A", "B", "C"]
    expert = SimpleNamespace(
        decoder=None,
        training=False,
        blank=0,
        dictionary=SimpleNamespace(string=lambda ids: " ".join(symbols[i] for i in ids)),
    )
    pieces, words = DownstreamExpert._decode(expert, scores, torch.tensor([60, 40, 7]))
    tokens = Tokens(vocabulary=vocabulary, words=False)
    for row, length, expected, expected_words in zip(scores, [60, 40, 7], pieces, words, strict=True):
        found = tokens.decode(row[:length])
        assert found == expected.replace(" ", "").replace("|", " ")
        assert found.split() == expected_words


def test_weighted_sum_is_the_featurizers() -> None:
    from s3prl.upstream.interfaces import Featurizer

    generator = torch.Generator().manual_seed(0)
    layers = [torch.randn(2, 9, 6, generator=generator) for _ in range(5)]
    scores = torch.randn(5, generator=generator)
    expected = Featurizer._weighted_sum(SimpleNamespace(layer_num=5, weights=scores, normalize=False), layers)
    found = weighted_sum(scores[None], torch.stack(layers).reshape(5, 18, 6))[0].view(2, 9, 6)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def _parameters(head: Head, n_outputs: int) -> Parameters:
    generator = torch.Generator().manual_seed(1)
    one = heads.initial(head, n_layers=1, dim=12, n_outputs=n_outputs, generator=generator)
    return repeat(one, cells=1, device=torch.device("cpu"))


def _frames() -> list[Tensor]:
    generator = torch.Generator().manual_seed(2)
    return [torch.randn(n, 12, generator=generator) for n in LENGTHS]


def test_linear_probe_is_the_utterance_level_model() -> None:
    from s3prl.downstream.model import UtteranceLevel
    from torch.nn.utils.rnn import pad_sequence

    parameters = _parameters(Head(projection_dim=8), 4)
    with torch.random.fork_rng():
        projector, model = torch.nn.Linear(12, 8), UtteranceLevel(input_dim=8, output_dim=4, pooling="MeanPooling")
    _load(projector, parameters, "projection")
    _load(model.post_net.linear, parameters, "output")
    frames = _frames()
    expected, _ = model(projector(pad_sequence(frames, batch_first=True)), torch.tensor(LENGTHS))
    means = torch.stack([f.mean(dim=0) for f in frames])[None]
    found = heads.logits(Head(projection_dim=8), parameters, means, lengths=[1] * 3)[0]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_blstm_head_is_the_rnns_model() -> None:
    from s3prl.downstream.asr.model import RNNs
    from torch.nn.utils.rnn import pad_sequence

    head = Head(type="blstm", projection_dim=8, hidden_dims=(5, 7), dropout=0.2)
    parameters = _parameters(head, 4)
    with torch.random.fork_rng():
        projector = torch.nn.Linear(12, 8)
        model = RNNs(
            8, 4, 320, module="LSTM", bidirection=True, dim=[5, 7], dropout=[0.2, 0.2], layer_norm=[False] * 2,
            proj=[False] * 2, sample_rate=[1, 1], sample_style="concat", total_rate=-1,
        ).eval()  # fmt: skip
    _load(projector, parameters, "projection")
    _load(model.linear, parameters, "output")
    for i, rnn in enumerate(model.rnns):
        state = {
            f"{part}_l0{suffix}": parameters[f"lstm{i}.{direction}.{part}"][0].detach()
            for direction, suffix in (("forward", ""), ("backward", "_reverse"))
            for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        }
        rnn.layer.load_state_dict(state)
    frames = _frames()
    expected, lengths = model(projector(pad_sequence(frames, batch_first=True)), torch.tensor(LENGTHS))
    assert lengths.tolist() == LENGTHS
    found = heads.logits(head, parameters, torch.cat(frames)[None], lengths=LENGTHS)[0]
    for ours, theirs, n in zip(torch.split(found, LENGTHS), expected, LENGTHS, strict=True):
        torch.testing.assert_close(ours, theirs[:n], rtol=1e-4, atol=1e-5)


def _load(layer: torch.nn.Linear, parameters: Parameters, name: str) -> None:
    layer.load_state_dict({part: parameters[f"{name}.{part}"][0].detach() for part in ("weight", "bias")})


@pytest.mark.parametrize("seed", range(3))
def test_spec_augment_with_equal_draws_is_the_same(seed: int) -> None:
    from s3prl.downstream.specaug import SpecAug

    reference = SpecAug(
        apply_time_warp=True, time_warp_window=5, apply_freq_mask=True, freq_mask_width_range=(0, 5), num_freq_mask=2,
        apply_time_mask=True, time_mask_width_range=(0, 9), num_time_mask=2, adaptive=False,
    )  # fmt: skip
    frames = _frames()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        expected, _ = reference([f.clone() for f in frames])
    options = SpecAugment(
        time_warp_window=5, n_feature_masks=2, feature_mask_max_dims=5, n_time_masks=2, time_mask_max_frames=9
    )
    generator = torch.Generator().manual_seed(seed)
    found = spec_augment(torch.cat(frames)[None], lengths=LENGTHS, options=options, generator=generator)[0]
    torch.testing.assert_close(found, torch.cat(expected), rtol=1e-5, atol=1e-6)
    assert not torch.equal(found, torch.cat(frames))
