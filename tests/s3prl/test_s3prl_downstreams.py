"""Every SUPERB downstream of s3prl trains and evaluates on today's packages."""

from __future__ import annotations

import importlib
import random
import re
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch

import skill_bench.s3prl  # noqa: F401  (what is tested: its effect on s3prl)


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


def train_and_evaluate(downstream: str, folder: Path) -> Path:
    """Two steps, a third after a restart, the test split from its checkpoint; returns the experiment folder."""
    runner = importlib.import_module("s3prl.downstream.runner")
    expdir = folder / "exp"
    expdir.mkdir()
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(0)
    config = tiny.LAYOUTS[downstream](folder / "data")
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
    "diarization": r"mode test acc [\d.]+ der [\d.]+",
    "emotion": r"test acc: [\d.]+",
    "fluent_commands": r"test acc: [\d.]+",
    "speech_commands": r"test acc: [\d.]+",
    "sv_voxceleb1": r"sv-voxceleb1/test-EER: [\d.]+",
    "voxceleb1": r"test acc: [\d.]+",
}


@pytest.mark.slow
@pytest.mark.usefixtures("private_caches")
@pytest.mark.parametrize("downstream", sorted(SCORES))
def test_downstream_trains_and_evaluates(downstream: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train_and_evaluate(downstream, tmp_path)
    printed = capsys.readouterr().out
    assert len(re.findall(SCORES[downstream], printed)) == 1, printed


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
    superb = {"ctc", "asr", "speech_commands", "voxceleb1", "emotion", "fluent_commands", "sv_voxceleb1", "diarization"}
    assert set(SCORES) == superb
    assert set(tiny.LAYOUTS) == superb | {"quesst14_dtw"}
