"""X-ARES's encoder over an upstream: its interface, and where it is installed its own checker, runner and a task."""

from __future__ import annotations

import io
import json
import math
import tarfile
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import soundfile
import torch

from skill_bench.adapters.xares import XaresUpstream
from skill_bench.base.errors import UnknownName
from skill_bench.upstream.load import load_upstream


class SkillEncoder(XaresUpstream):
    name = "skill"


class FirstEncoder(XaresUpstream):
    name = "fbank"
    layer = 0
    max_seconds = 0.5


needs_xares = pytest.mark.parametrize("board", ["xares"], indirect=True)
FILE = """
from skill_bench.adapters import xares

class SkillEncoder(xares.XaresUpstream):
    name = "skill"
"""


def test_one_state_a_frame() -> None:
    encoder, waves = SkillEncoder(), torch.randn(2, 16000)
    assert (encoder.sampling_rate, encoder.output_dim, encoder.hop_size_in_ms) == (16000, 144, 20.0)
    found = encoder(waves)
    expected = load_upstream("skill").hidden_states(list(waves))
    assert torch.allclose(found, torch.stack([states[-1] for states in expected]), atol=1e-5)
    assert not torch.allclose(found, torch.stack([states[-2] for states in expected]), atol=1e-5)
    assert torch.equal(encoder(waves[0]), encoder(waves[:1])), "one waveform is a batch of one"
    assert not found.requires_grad


def test_long_audio_is_heard_in_chunks() -> None:
    encoder, waves = FirstEncoder(), torch.randn(2, 20000)
    assert (encoder.output_dim, encoder.hop_size_in_ms) == (240, 10.0)
    chunks = [encoder.upstream.hidden_states([chunk])[0][0] for chunk in torch.split(waves[1], 8000)]
    assert len(chunks) == 3
    assert torch.equal(encoder(waves)[1], torch.cat(chunks))


def test_what_is_shorter_than_a_frame_has_none() -> None:
    assert SkillEncoder()(torch.randn(3, 100)).shape == (3, 0, 144)
    assert SkillEncoder()(torch.randn(1, 0)).shape == (1, 0, 144)


def test_an_unknown_upstream_is_named() -> None:
    class WrongEncoder(XaresUpstream):
        name: ClassVar[str] = "skil"

    with pytest.raises(UnknownName, match="skill"):
        WrongEncoder()


@needs_xares
def test_its_runner_finds_the_class_and_its_checker_passes_it(
    board: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from xares.audio_encoder_checker import check_audio_encoder
    from xares.utils import attr_from_py_path

    (tmp_path / "skill_encoder.py").write_text(FILE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    encoder = attr_from_py_path("skill_encoder.py", endswith="Encoder")()
    assert check_audio_encoder(encoder)
    encoder.output_dim = 3
    assert not check_audio_encoder(encoder), "the checker looks at what the encoder gives"


@needs_xares
def test_its_nearest_neighbours_tell_two_tones_apart(board: Any, tmp_path: Path) -> None:
    """A task of X-ARES from tar files to its score: embeddings are made, stored and compared by its code."""
    from xares.task import TaskConfig, XaresTask

    config = TaskConfig(
        name="tones", env_root=tmp_path, private=True, encoder=SkillEncoder(), batch_size_encode=4,
        num_encoder_workers=0, label_processor=lambda content: content["label"], output_dim=2,
    )  # fmt: skip
    folder = tmp_path / "tones"
    folder.mkdir()
    for seed, split in enumerate(("train", "valid", "test")):
        _write_tones(folder / f"{split}-0.tar", np.random.default_rng(seed))
    (folder / config.xares_settings.audio_ready_filename).touch()
    task = XaresTask(config=config)
    task.make_encoded_tar()
    assert task.encoder_name == "SkillEncoder"
    task.ckpt_dir.mkdir(parents=True)  # which its run_mlp makes
    assert task.run_knn()[0] == 1.0
    (kept,) = task.encoded_tar_dir.glob("*test*")
    with tarfile.open(kept) as archive:
        assert sum(name.endswith(".npy") for name in archive.getnames()) == 24


def _write_tones(path: Path, rng: np.random.Generator) -> None:
    time = np.arange(16000) / 16000
    with tarfile.open(path, "w") as archive:
        for index in range(24):
            wave = 0.3 * np.sin(2 * math.pi * (300, 1500)[index % 2] * time) + 0.01 * rng.standard_normal(16000)
            audio = io.BytesIO()
            soundfile.write(audio, wave, 16000, format="WAV")
            for name, content in ((f"{index}.wav", audio.getvalue()), (f"{index}.json", _label(index % 2))):
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))


def _label(label: int) -> bytes:
    return json.dumps({"label": label}).encode()
