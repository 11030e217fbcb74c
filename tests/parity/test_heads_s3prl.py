"""X-vector, diarization head, intent loss, slot spelling and alignment against s3prl's own."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

import skill_bench.s3prl  # noqa: F401  s3prl's modules import only after this
from skill_bench.evaluation.kinds.utterance.problem import LabelProblem
from skill_bench.probes import dtw, heads, permutation, xvector
from skill_bench.probes.parameters import Parameters, repeat
from skill_bench.probes.tokens import Tokens
from skill_bench.tasks import Head, Search, Target

# float32 sums in another order.
RTOL, ATOL = 1e-4, 1e-5
XVECTOR = Head(type="xvector", projection_dim=6, hidden_dims=(6, 6, 6, 6, 10), embedding_dim=6)


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _one_cell(parameters: Parameters) -> Parameters:
    return repeat(parameters, cells=1, device=torch.device("cpu"))


def _load(layer: torch.nn.Module, parameters: Parameters, name: str) -> None:
    layer.load_state_dict({part: parameters[f"{name}.{part}"][0].detach() for part in ("weight", "bias")})


def _s3prl_xvector(parameters: Parameters, n_speakers: int) -> tuple[torch.nn.Linear, Any, Any]:
    from s3prl.downstream.sv_voxceleb1.model import AMSoftmaxLoss, Model

    with torch.random.fork_rng():
        connector = torch.nn.Linear(5, 6)
        model = Model(
            input_dim=6, agg_dim=10, agg_module_name="SP", module_name="XVector",
            utterance_module_name="UtteranceExtractor", hparams={"agg_dim": 10, "dropout_p": 0.0, "batch_norm": False},
        )  # fmt: skip
        loss = AMSoftmaxLoss(hidden_dim=6, speaker_num=n_speakers, s=30.0, m=0.4)
    _load(connector, parameters, "projection")
    for i, layer in enumerate(model.framelevel_feature_extractor.module):
        _load(layer.kernel, parameters, f"tdnn{i}")
    _load(model.utterancelevel_feature_extractor.linear1, parameters, "embedding")
    _load(model.utterancelevel_feature_extractor.linear2, parameters, "hidden")
    loss.load_state_dict({"W": parameters["speakers"][0].detach()})
    return connector, model, loss


def test_xvector_and_its_loss_with_gradients() -> None:
    """Utterances of one length: s3prl pools a frame of padding into all others."""
    n, frames, labels = 7, 40, [0, 2, 1, 1, 0, 2, 2]
    one = xvector.initial(XVECTOR, n_layers=1, dim=5, n_speakers=3, generator=_generator())
    parameters = _one_cell(one)
    features = torch.randn(n, frames, 5, generator=_generator(1))
    connector, model, loss = _s3prl_xvector(parameters, 3)
    mask = torch.zeros(n, frames - xvector.N_FRAMES_LOST)
    projected = connector(features)
    expected = model.inference(projected, mask)
    rows = features.reshape(1, n * frames, 5)
    embedded = xvector.embeddings(XVECTOR, parameters, rows, lengths=[frames] * n)
    assert expected.std() > 0.01
    torch.testing.assert_close(embedded[0], expected, rtol=RTOL, atol=ATOL)
    wanted = loss(model(projected, mask), torch.tensor(labels))
    found = xvector.losses(XVECTOR, parameters, embedded, labels)
    torch.testing.assert_close(found[0], wanted, rtol=RTOL, atol=ATOL)
    wanted.backward()
    found.sum().backward()  # type: ignore[no-untyped-call]
    for name, layer in (
        ("projection", connector),
        ("tdnn0", model.framelevel_feature_extractor.module[0].kernel),
        ("tdnn4", model.framelevel_feature_extractor.module[4].kernel),
        ("hidden", model.utterancelevel_feature_extractor.linear2),
    ):
        gradient = parameters[f"{name}.weight"].grad
        assert gradient is not None
        torch.testing.assert_close(gradient[0], layer.weight.grad, rtol=1e-3, atol=ATOL)


def test_an_embedding_does_not_depend_on_its_batch() -> None:
    parameters = _one_cell(xvector.initial(XVECTOR, n_layers=2, dim=5, n_speakers=3, generator=_generator()))
    lengths = [xvector.MIN_FRAMES, 40, 23]
    parts = [torch.randn(2, n, 5, generator=_generator(n)) for n in lengths]
    together = xvector.embeddings(XVECTOR, parameters, torch.cat(parts, dim=1), lengths=lengths)
    for i, part in enumerate(parts):
        alone = xvector.embeddings(XVECTOR, parameters, part, lengths=[part.shape[1]])
        torch.testing.assert_close(together[:, i], alone[:, 0], rtol=RTOL, atol=ATOL)


def test_diarization_head_is_the_lstm_model() -> None:
    from s3prl.downstream.diarization.model import Model

    head = Head(type="lstm", projection_dim=False, hidden_dims=(7,))
    parameters = _one_cell(heads.initial(head, n_layers=1, dim=5, n_outputs=2, generator=_generator()))
    with torch.random.fork_rng():
        model = Model(input_dim=5, output_class_num=2, rnn_layers=1, hidden_size=7)
    model.rnn.load_state_dict(
        {
            f"{part}_l0": parameters[f"lstm0.forward.{part}"][0].detach()
            for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        }
    )
    _load(model.linear, parameters, "output")
    frames = [torch.randn(n, 5, generator=_generator(n)) for n in (12, 30)]
    found = heads.logits(head, parameters, torch.cat(frames)[None], lengths=[12, 30])[0]
    for ours, part in zip(torch.split(found, [12, 30]), frames, strict=True):
        torch.testing.assert_close(ours, model(part[None])[0], rtol=RTOL, atol=ATOL)


def test_permutation_loss() -> None:
    from s3prl.downstream.diarization.utils import pit_loss

    lengths = [12, 30, 5]
    scores = [torch.randn(n, 2, generator=_generator(n)) for n in lengths]
    labels = [(torch.rand(n, 2, generator=_generator(n + 1)) < 0.4).float() for n in lengths]
    labels[0] = (scores[0] > 0).float()
    labels[1] = (scores[1].flip(1) > 0).float()  # the other order is the better one
    expected, order, _ = pit_loss(
        pad_sequence(scores, batch_first=True), pad_sequence(labels, batch_first=True), torch.tensor(lengths)
    )
    assert len(set(order.tolist())) == 2
    found = permutation.losses(torch.cat(scores)[None], labels)
    torch.testing.assert_close(found[0], expected, rtol=RTOL, atol=ATOL)


def test_decisions_are_those_of_make_rttm() -> None:
    """``T_hat > threshold``, then scipy.signal.medfilt over time (downstream/diarization/make_rttm.py)."""
    from scipy.signal import medfilt

    scores = torch.randn(200, 2, generator=_generator()).cumsum(dim=0) / 3
    scores -= scores.mean(dim=0)
    probabilities = scores.sigmoid().numpy()
    for threshold, median in ((0.5, 11), (0.3, 1), (0.7, 11)):
        expected = (
            medfilt(np.where(probabilities > threshold, 1, 0), (median, 1))
            if median > 1
            else (probabilities > threshold)
        )
        found = permutation.decide(scores, threshold=threshold, median_frames=median)
        assert (found == (np.asarray(expected) > 0)).all()
        assert 0.1 < found.mean() < 0.9


@pytest.mark.parametrize("distance", ["cosine", "cosine_exp"])
def test_alignment_scores(distance: Literal["cosine", "cosine_exp"]) -> None:
    """s3prl's ``match`` with its default settings (downstream/quesst14_dtw/config.yaml), standardised as it does."""
    from functools import partial

    from s3prl.downstream.quesst14_dtw import expert
    from scipy.spatial.distance import cdist

    draw = np.random.default_rng(0)
    query = draw.normal(size=(9, 4)).astype(np.float32)
    documents = [draw.normal(size=(n, 4)).astype(np.float32) for n in (30, 7, 55, 12)]
    documents[0][5:14] = query
    distance_function = expert.cosine_exp if distance == "cosine_exp" else partial(cdist, metric="cosine")
    settings = {
        "step_pattern": "asymmetric", "keep_internals": False, "distance_only": False, "open_begin": True,
        "open_end": True,
    }  # fmt: skip
    raw = np.array([expert.match(query, d, "q", "d", distance_function, True, settings)[2] for d in documents])
    expected = (raw - raw.mean()) / raw.std()
    found = dtw.scores(
        torch.from_numpy(query), [torch.from_numpy(d) for d in documents], search=Search(distance=distance)
    )
    assert int(found.argmax()) == 0
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-6)


def test_short_queries_match_everything_alike() -> None:
    documents = [torch.randn(n, 4, generator=_generator(n)) for n in (5, 9)]
    found = dtw.scores(torch.randn(4, 4, generator=_generator()), documents, search=Search())
    assert found.tolist() == [0.0, 0.0]


def test_intent_loss_is_the_sum_over_slots() -> None:
    """s3prl ``fluent_commands/expert.py``: cross-entropy of each slot's block of outputs, added up."""
    problem = LabelProblem.__new__(LabelProblem)
    problem.classes = [["a", "b", "c"], ["x", "y"], ["1", "2", "3", "4"]]
    scores = torch.randn(1, 20, 9, generator=_generator())
    labels = [[i % 3, i % 2, i % 4] for i in range(20)]
    expected = sum(
        torch.nn.functional.cross_entropy(scores[0, :, start:end], torch.tensor([row[k] for row in labels]))
        for k, (start, end) in enumerate([(0, 3), (3, 5), (5, 9)])
    )
    assert isinstance(expected, Tensor)
    torch.testing.assert_close(problem._cross_entropy(scores, labels)[0], expected, rtol=RTOL, atol=ATOL)


def test_slots_are_spelt_as_s3prl_spells_them(tmp_path: Path) -> None:
    """A sentence and its labels through s3prl's encoder and decoder, and the text that results through ours."""
    from s3prl.downstream.ctc.text import CharacterTextSlotEncoder

    characters = [" ", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ'"]
    (tmp_path / "vocab.txt").write_text("\n".join(characters) + "\n")
    (tmp_path / "slots.txt").write_text("O\nartist\ncity")
    encoder = CharacterTextSlotEncoder.load_from_file(str(tmp_path / "vocab.txt"), str(tmp_path / "slots.txt"))
    draw = random.Random(0)
    for _ in range(50):
        words = [draw.choice(["PLAY", "THE", "B", "O'ER", "A"]) for _ in range(draw.randint(1, 7))]
        labels = [draw.choice(["O", "artist", "city"]) for _ in words]
        line = f"BOS {' '.join(words)} EOS\tO {' '.join(labels)} O"
        text = encoder.decode(encoder.encode(line)).strip()
        target = Target(tokens="characters_and_slots", vocabulary=tuple(characters), ending=("<eos>",))
        tokens = Tokens.of(target, texts=[text])
        expected = [encoder.idx_to_vocab(i).strip(" ") or " " for i in encoder.encode(line)]
        assert [*tokens.split(text), "<eos>"] == expected
        assert tokens.join(tokens.split(text)) == text
        assert not tokens.unknown(text)
