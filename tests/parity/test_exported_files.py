"""Exported checkpoints: DPHuBERT's own code and transformers load them and give the same hidden states."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn

from skill_bench.models import checkpoint
from skill_bench.models.architecture import Architecture, LayerShape
from skill_bench.models.encoder import Encoder
from skill_bench.models.export import dphubert, huggingface
from skill_bench.models.factories import WAVLM_POSITION, architecture

Compare = Callable[[Iterator[tuple[str, Tensor, Tensor]]], int]
MISSING_BLOCKS = (
    LayerShape(heads=(), ffn_dim=7),
    LayerShape(heads=(1, 3), ffn_dim=0),
    LayerShape(heads=(), ffn_dim=0),
    LayerShape(heads=(2,), ffn_dim=9),
)


def whole(*, wavlm: bool, large: bool) -> Architecture:
    return architecture(
        channels=12, dim=32, n_layers=4, n_heads=4, ffn_dim=20, large=large, position_kernel=16, position_groups=4,
        relative_position=WAVLM_POSITION if wavlm else None,
    )  # fmt: skip


@pytest.fixture
def encoder(randomise: Callable[[nn.Module], None], request: pytest.FixtureRequest) -> Encoder:
    shape: Architecture = request.param
    torch.manual_seed(0)
    made = Encoder(shape).requires_grad_(False)
    randomise(made)
    return made


def pruned(*, wavlm: bool, large: bool) -> Architecture:
    return replace(whole(wavlm=wavlm, large=large), layers=MISSING_BLOCKS, channel_scale=True)


SHAPES = [
    pytest.param(make(wavlm=wavlm, large=large), id=f"{make.__name__}-{'wavlm' if wavlm else 'hubert'}-{size}")
    for make in (whole, pruned)
    for wavlm in (False, True)
    for large, size in ((False, "base"), (True, "large"))
]


@pytest.fixture(scope="session")
def reference() -> ModuleType:
    """DPHuBERT's package ``wav2vec2``, from a checkout that SKILL_BENCH_DPHUBERT names."""
    root = os.environ.get("SKILL_BENCH_DPHUBERT")
    if not root:
        pytest.skip("SKILL_BENCH_DPHUBERT is not set: no checkout of pyf98/DPHuBERT to compare with")
    spec = importlib.util.spec_from_file_location("dphubert_wav2vec2", Path(root) / "wav2vec2" / "__init__.py")
    assert spec is not None
    assert spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules["dphubert_wav2vec2"] = package
    spec.loader.exec_module(package)
    return importlib.import_module("dphubert_wav2vec2.model")


@pytest.mark.parametrize("encoder", SHAPES, indirect=True)
def test_dphuberts_code_gives_the_same_hidden_states(
    encoder: Encoder, reference: Any, tmp_path: Path, waves: Tensor, compare: Compare
) -> None:
    """Its state 0 is the projection before the positional convolution; it leaves the last norm of large models out."""
    path = dphubert.write(encoder, tmp_path / "m.pth", metadata={"title": "x"})
    content = torch.load(path, weights_only=True)
    model = reference.wav2vec2_model(**content["config"])
    model.load_state_dict(content["state_dict"], strict=True)
    with torch.no_grad():
        theirs, _ = model.eval().extract_features(waves)
        if encoder.architecture.layer_norm_first:
            theirs[-1] = model.encoder.transformer.layer_norm(theirs[-1])
        ours, _ = encoder(waves)
        frames, _ = encoder.frames(waves)
        pairs = [("projection", encoder.projection(frames), theirs[0])]
        pairs += [(f"h{i}", a, b) for i, (a, b) in enumerate(zip(ours[1:], theirs[1:], strict=True), start=1)]
    assert compare(iter(pairs)) == 5


@pytest.mark.parametrize("encoder", SHAPES, indirect=True)
def test_dphubert_format_comes_back(encoder: Encoder, tmp_path: Path, waves: Tensor) -> None:
    path = dphubert.write(encoder, tmp_path / "m.pth", metadata={"title": "x", "recipe": "{}"})
    loaded = checkpoint.load(path)
    assert (loaded.format, loaded.metadata) == ("dphubert", {"title": "x", "recipe": "{}"})
    with torch.no_grad():
        pairs = list(zip(loaded.encoder(waves)[0], encoder(waves)[0], strict=True))
    assert len(pairs) == 5
    assert all(torch.equal(a, b) for a, b in pairs), "the carrier of the position bias and factors of one change no bit"


@pytest.mark.parametrize("name", ["hubert_pruned", "wavlm_pruned"])
def test_golden_files_are_rewritten_as_they_are(name: str, corpora: Path) -> None:
    """Key for key, value for value: the structure of files that DPHuBERT's own code wrote."""
    golden = torch.load(corpora.parent / "golden" / "dphubert_format" / name / "checkpoint.pth", weights_only=True)
    loaded = checkpoint.load(corpora.parent / "golden" / "dphubert_format" / name / "checkpoint.pth")
    written = dphubert.content(loaded.encoder)
    assert set(written["state_dict"]) == set(golden["state_dict"])
    assert len(written["state_dict"]) > 60
    for key, tensor in golden["state_dict"].items():
        assert tensor.shape == written["state_dict"][key].shape, key
        assert torch.equal(tensor, written["state_dict"][key]), key
    assert set(written["config"]) == set(golden["config"])
    differing = {key for key, value in golden["config"].items() if written["config"][key] != value}
    # The width of a block that was removed is not kept, and nothing is built from it.
    assert differing == ({"encoder_ff_interm_features"} if name == "hubert_pruned" else set())


@pytest.mark.parametrize("encoder", SHAPES[:4], indirect=True)
def test_transformers_loads_a_whole_model(encoder: Encoder, tmp_path: Path, waves: Tensor, compare: Compare) -> None:
    if encoder.architecture.normalize_waveform:
        assert "with epsilon 1e-05, and transformers' feature extractor with 1e-07" in str(
            huggingface.why_not_transformers(encoder)
        )
        encoder.architecture = replace(encoder.architecture, normalize_eps=1e-7)
    assert huggingface.why_not_transformers(encoder) is None
    huggingface.write(encoder, tmp_path / "m", metadata={"title": "x"}, card="# x\n")
    model, info = transformers.AutoModel.from_pretrained(tmp_path / "m", output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    normalize = encoder.architecture.normalize_waveform
    extractor = transformers.AutoFeatureExtractor.from_pretrained(tmp_path / "m")  # type: ignore[no-untyped-call]
    assert extractor.do_normalize == normalize
    inputs = torch.nn.functional.layer_norm(waves, waves.shape[1:], eps=1e-7) if normalize else waves
    with torch.no_grad():
        output = model.eval()(inputs, output_hidden_states=True)
        # As its model returns the last state: in large models behind the last norm, unlike in its list.
        theirs = [*output.hidden_states[:-1], output.last_hidden_state]
        ours, _ = encoder(waves)
    assert compare((f"h{i}", a, b) for i, (a, b) in enumerate(zip(ours, theirs, strict=True))) == 5
    loaded = checkpoint.load(tmp_path / "m")
    assert (loaded.format, loaded.metadata) == ("transformers_folder", {"title": "x"})
    assert loaded.sha256 == checkpoint.weights_sha256(encoder.architecture, encoder.state_dict())
