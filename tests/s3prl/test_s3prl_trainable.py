"""In s3prl our upstreams are modules that train where s3prl trains them; in skill-bench they are frozen.

Every SUPERB downstream of s3prl trains and evaluates on today's packages.
"""

from __future__ import annotations

import importlib
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from torch import Tensor
from transformers import HubertConfig, HubertModel, WavLMConfig, WavLMModel

import skill_bench.s3prl  # noqa: F401  (what is tested: its effect on s3prl)
from skill_bench.upstream.load import load_upstream

# What s3prl and the packages that it imports warn about is not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore")

SMALL: dict[str, Any] = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48,
    "conv_dim": [24] * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4, "hidden_dropout": 0.0,
    "attention_dropout": 0.0, "activation_dropout": 0.0, "feat_proj_dropout": 0.0, "layerdrop": 0.0,
    "apply_spec_augment": False,
}  # fmt: skip


@pytest.fixture
def waves() -> Tensor:
    """A second of noise, twice."""
    return 0.1 * torch.randn(2, 16_000, generator=torch.Generator().manual_seed(0))


def test_gradients_reach_every_weight_through_s3prl(waves: Tensor) -> None:
    from s3prl.nn import S3PRLUpstream

    model = S3PRLUpstream("skill").train()
    hidden, _ = model(waves, torch.tensor([waves.shape[1], waves.shape[1] - 3000]))
    names, parameters = zip(*model.named_parameters(), strict=True)
    loss = torch.stack([layer.square().mean() for layer in hidden]).sum()
    found = torch.autograd.grad(loss, parameters, allow_unused=True)
    without = [name for name, gradient in zip(names, found, strict=True) if gradient is None]
    assert without == []


def test_the_harness_loads_it_frozen(waves: Tensor) -> None:
    upstream = load_upstream("skill").train()
    assert not any(parameter.requires_grad for parameter in upstream.parameters())
    assert not upstream(list(waves.requires_grad_()))["last_hidden_state"].requires_grad


@pytest.mark.parametrize(
    ("make", "config"), [(HubertModel, HubertConfig(**SMALL)), (WavLMModel, WavLMConfig(**SMALL, num_buckets=32))]
)
def test_gradients_are_those_of_transformers(make: Any, config: Any, waves: Tensor, tmp_path: Path) -> None:
    """Of all hidden states together, with respect to the waves and to the weights that both have by one name."""
    from s3prl import hub

    torch.manual_seed(0)
    theirs = make(config)
    theirs.train(False)
    theirs.save_pretrained(tmp_path / "model")
    ours = hub.skill(ckpt=str(tmp_path / "model")).double()
    weights = [torch.randn(config.hidden_size, dtype=torch.float64) for _ in range(config.num_hidden_layers + 1)]

    def gradients(states: list[Tensor], wrt: list[Tensor]) -> list[Tensor]:
        parts = [(state * weight).mean() for state, weight in zip(states, weights, strict=True)]
        return list(torch.autograd.grad(torch.stack(parts).sum(), wrt))

    wave = waves[:1].double().requires_grad_()
    mine = dict(ours.named_parameters())
    pairs = [
        *((f"front_end.layers.{i}.conv", f"feature_extractor.conv_layers.{i}.conv") for i in range(7)),
        *((f"layers.{i}.feed_forward.up", f"encoder.layers.{i}.feed_forward.intermediate_dense") for i in range(2)),
        *((f"layers.{i}.attention.query", f"encoder.layers.{i}.attention.q_proj") for i in range(2)),
    ]
    pairs = [(f"encoder.{one}.weight", f"{other}.weight") for one, other in pairs]
    named = dict(theirs.double().named_parameters())
    here = gradients(list(ours.encoder(wave)[0]), [wave, *(mine[name] for name, _ in pairs)])
    states = list(theirs(wave, output_hidden_states=True).hidden_states)
    there = gradients(states, [wave, *(named[name] for _, name in pairs)])
    for name, one, other in zip(["waves", *(name for name, _ in pairs)], here, there, strict=True):
        # float64, and sums in another order
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-9, msg=f"the gradient of {name}")


@pytest.mark.slow
@pytest.mark.parametrize("fine_tuned", [True, False])
def test_fine_tuning_changes_the_weights_and_nothing_else_does(fine_tuned: bool, tmp_path: Path) -> None:
    """``-f``: after two steps the checkpoint holds other weights than the upstream began with."""
    runner = importlib.import_module("s3prl.downstream.runner")
    config = tiny.LAYOUTS["emotion"](tmp_path / "data")
    run = runner.Runner(tiny.arguments("emotion", tmp_path, upstream="skill", upstream_trainable=fine_tuned), config)
    before = {name: value.clone() for name, value in run.upstream.model.state_dict().items()}
    run.train()
    states = torch.load(tmp_path / "states-2.ckpt", weights_only=True)
    assert ("Upstream" in states) == fine_tuned
    after = states["Upstream"] if fine_tuned else run.upstream.model.state_dict()
    changed = [name for name, value in before.items() if not torch.equal(value, after[name])]
    assert len(changed) > 0.9 * len(before) if fine_tuned else changed == []


@pytest.fixture
def private_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """s3prl caches the file lists of SID and ASV in its own package folder, keyed by nothing: keep ours out of it."""
    monkeypatch.setattr(
        importlib.import_module("s3prl.downstream.voxceleb1.dataset"), "CACHE_PATH", str(tmp_path / "sid")
    )
    verification = importlib.import_module("s3prl.downstream.sv_voxceleb1.dataset")
    monkeypatch.setattr(verification, "__file__", str(tmp_path / "asv" / "dataset.py"))
    (tmp_path / "asv").mkdir()
    if not torch.cuda.is_available():  # s3prl's ASV calls .cuda() whatever --device says
        monkeypatch.setattr(torch.Tensor, "cuda", lambda tensor: tensor)


def train_and_evaluate(layout: str, folder: Path) -> Path:
    """Two steps, a third after a restart, the test split from its checkpoint; returns the experiment folder."""
    downstream = tiny.downstream(layout)
    runner = importlib.import_module("s3prl.downstream.runner")
    expdir = folder / "exp"
    expdir.mkdir()
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(0)
    config = tiny.LAYOUTS[layout](folder / "data")
    split = {"asr": "test-clean", "quesst14_dtw": "eval"}.get(downstream, "test")
    args = tiny.arguments(downstream, expdir, evaluate_split=split)
    if downstream != "quesst14_dtw":
        runner.Runner(args, config).train()
        args.init_ckpt = str(expdir / "states-2.ckpt")
        config["runner"] |= {"total_steps": 3, "eval_step": 3, "save_step": 3}
        runner.Runner(args, config).train()
        args.init_ckpt = str(expdir / "states-3.ckpt")
        assert torch.load(args.init_ckpt, weights_only=True)["Step"] == 3
    runner.Runner(args, config).evaluate()
    return expdir


# What each downstream prints about its test split.
SCORES = {
    "asr": r"test-clean wer: [\d.]+",
    "ctc": r"test per: [\d.]+",
    "ctc_snips": r"test slot_type_f1: [\d.]+",
    "diarization": r"mode test acc [\d.]+ der [\d.]+",
    "emotion": r"test acc: [\d.]+",
    "fluent_commands": r"test acc: [\d.]+",
    "speech_commands": r"test acc: [\d.]+",
    "sv_voxceleb1": r"sv-voxceleb1/test-EER: [\d.]+",
    "voxceleb1": r"test acc: [\d.]+",
}


@pytest.mark.slow
@pytest.mark.usefixtures("private_caches")
@pytest.mark.parametrize("layout", sorted(SCORES))
def test_downstream_trains_and_evaluates(layout: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train_and_evaluate(layout, tmp_path)
    printed = capsys.readouterr().out
    assert len(re.findall(SCORES[layout], printed)) == 1, printed


def test_query_by_example_scores_every_pair(tmp_path: Path) -> None:
    expdir = train_and_evaluate("quesst14_dtw", tmp_path)
    scores = [
        float(score) for score in re.findall(r'score="([-\d.]+)"', (expdir / "benchmark.stdlist.xml").read_text())
    ]
    assert len(scores) == 4, "two English queries against two English documents"
    assert len(set(scores)) > 1


def test_our_upstream_stays_frozen_while_layer_weights_learn(tmp_path: Path) -> None:
    """``-u random``: its weights come from a seed, so that s3prl's checkpoint needs to hold the downstream only."""
    runner = importlib.import_module("s3prl.downstream.runner")
    config = tiny.LAYOUTS["emotion"](tmp_path / "data")
    args = tiny.arguments("emotion", tmp_path, upstream="random")
    run = runner.Runner(args, config)
    run.train()
    states = torch.load(tmp_path / "states-2.ckpt")
    assert {"Featurizer", "Downstream", "Optimizer"} <= set(states)
    assert "Upstream" not in states
    assert states["Featurizer"]["weights"].shape == (run.upstream.model.n_hidden_states,)
    assert states["Featurizer"]["weights"].abs().max() > 0, "the layer weights did not learn"
    args.init_ckpt = str(tmp_path / "states-2.ckpt")
    again = runner.Runner(args, config)
    torch.testing.assert_close(again.featurizer.model.weights.detach(), states["Featurizer"]["weights"], rtol=0, atol=0)


def test_every_superb_downstream_is_covered() -> None:
    superb = {
        "ctc", "ctc_snips", "asr", "speech_commands", "voxceleb1", "emotion", "fluent_commands", "sv_voxceleb1",
        "diarization",
    }  # fmt: skip
    assert set(SCORES) == superb
    assert set(tiny.LAYOUTS) == superb | {"quesst14_dtw"}
    assert len(tiny.LAYOUTS) == 10
