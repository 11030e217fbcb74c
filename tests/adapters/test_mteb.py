"""mteb's audio encoder over an upstream, where mteb is installed: its protocol, its own checks, its mock tasks."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from skill_bench.base.errors import MissingExtra
from skill_bench.upstream.load import load_upstream

needs_mteb = pytest.mark.parametrize("board", ["mteb"], indirect=True)


def test_without_mteb_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "skill_bench.adapters.mteb", raising=False)
    for name in ("mteb", "mteb.models.abs_encoder"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtra, match=r"skill_bench.adapters.mteb needs mteb, .* pip install '\.\[mteb\]'"):
        import skill_bench.adapters.mteb  # noqa: F401


@needs_mteb
def test_an_embedding_is_the_mean_over_frames(board: Any) -> None:
    from torch.utils.data import DataLoader

    from skill_bench.adapters.mteb import MIN_SAMPLES, MtebUpstream

    waves = [torch.randn(9000), torch.randn(2, 16000), torch.randn(100)]
    clips: Any = [{"audio": {"array": wave.numpy(), "sampling_rate": 16000}} for wave in waves]
    encoder = MtebUpstream("skill", layer=3)
    found = encoder.encode(DataLoader(clips, batch_size=2))
    heard = [waves[0], waves[1].mean(0), torch.nn.functional.pad(waves[2], (0, MIN_SAMPLES - 100))]
    expected = [states[3].mean(0) for states in load_upstream("skill").hidden_states(heard)]
    assert torch.allclose(found, torch.stack(expected), atol=1e-5)
    chunked = MtebUpstream("skill", layer=3, max_seconds=0.25).encode(DataLoader(clips[:1]))
    assert chunked.shape == (1, 144)
    assert not torch.allclose(chunked[0], found[0], atol=1e-5)


@needs_mteb
def test_what_mteb_says_of_the_model(board: Any) -> None:
    from mteb.models.models_protocols import EncoderProtocol

    from skill_bench.adapters.mteb import MtebUpstream

    encoder = MtebUpstream("skill")
    assert isinstance(encoder, EncoderProtocol)
    meta, system = encoder.mteb_model_meta, load_upstream("skill").system()
    assert (meta.name, meta.revision) == ("skill-bench/skill", system.identity), "other weights, other results"
    assert (meta.n_parameters, meta.embed_dim, meta.modalities) == (system.n_parameters, 144, ["audio"])


@needs_mteb
def test_its_mock_tasks_pass(board: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``mteb mock-run``: every kind of task that an audio encoder can be asked for; a skipped one has not passed."""
    from mteb.results.task_result import TaskResult

    from skill_bench.adapters.mteb import MtebUpstream

    monkeypatch.setenv("MTEB_CACHE", str(tmp_path))
    ran = {name: result for name, result in board.mock_run(MtebUpstream("skill")).items() if result is not None}
    assert len(ran) >= 5
    assert {name for name, result in ran.items() if not isinstance(result, TaskResult)} == set()
