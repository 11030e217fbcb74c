"""Normalisation as its producer does it, at three levels of speech: torchaudio's bundles and s3prl's experts.

An epsilon is nothing at a usual level and everything at a low one. (transformers: `test_transformers_family`.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from reference_models import LARGE, make_hubert, make_wavlm, small
from s3prl.upstream.hubert.expert import UpstreamExpert as HubertExpert
from s3prl.upstream.wavlm.expert import UpstreamExpert as WavLMExpert
from torch import Tensor, nn
from torchaudio.pipelines._wav2vec2.utils import _Wav2Vec2Model

from skill_bench.models import checkpoint
from skill_bench.models.encoder import Encoder

LEVELS = (0.1, 0.008, 0.0007)
Reference = Callable[[Tensor], list[Tensor]]
pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm.*is deprecated:FutureWarning")


def triples(ours: Encoder, theirs: Reference, *, skip: int) -> Iterator[tuple[str, Tensor, Tensor]]:
    noise = torch.randn(9000, generator=torch.Generator().manual_seed(3))
    for level in LEVELS:
        wave = level * (noise + 0.1)
        with torch.no_grad():
            expected, (states, _) = theirs(wave[None]), ours(wave[None])
        for layer, (mine, reference) in enumerate(zip(states[skip:], expected, strict=True), start=skip):
            yield f"h{layer} at {level}", mine, reference[:, : mine.shape[1]]


@pytest.mark.parametrize("wavlm", [False, True], ids=["hubert", "wavlm"])
@pytest.mark.parametrize("large", [False, True], ids=["base", "large"])
def test_torchaudio_bundle(
    wavlm: bool, large: bool, tmp_path: Path, randomise: Callable[[nn.Module], None], compare: Any
) -> None:
    inner = small(wavlm=wavlm, large=large)
    randomise(inner)
    torch.save(inner.state_dict(), tmp_path / "m.pt")
    model = _Wav2Vec2Model(inner, normalize_waveform=large, apply_log_softmax=False, append_star=False).eval()

    def reference(waves: Tensor) -> list[Tensor]:
        states, _ = model.extract_features(waves)
        if large:  # listed before the final norm
            states[-1] = inner.encoder.transformer.layer_norm(states[-1])
        return list(states)

    assert compare(triples(checkpoint.load(tmp_path / "m.pt").encoder, reference, skip=1)) == 9


def experts(expert: Any) -> Reference:
    return lambda waves: list(expert(list(waves))["hidden_states"])


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("style", [{}, LARGE], ids=["base", "large"])
def test_wavlm_release(
    style: dict[str, Any], normalize: bool, tmp_path: Path, randomise: Callable[[nn.Module], None], compare: Any
) -> None:
    config, theirs = make_wavlm(**style, normalize=normalize)
    randomise(theirs)
    torch.save({"cfg": config, "model": theirs.state_dict()}, tmp_path / "m.pt")
    reference = experts(WavLMExpert(str(tmp_path / "m.pt")).eval())
    assert compare(triples(checkpoint.load(tmp_path / "m.pt").encoder, reference, skip=0)) == 12


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("style", [{}, LARGE], ids=["base", "large"])
@pytest.mark.parametrize("form", ["s3prl", "fairseq"])
def test_hubert_converted_and_as_fairseq_writes_it(
    form: str,
    style: dict[str, Any],
    normalize: bool,
    tmp_path: Path,
    randomise: Callable[[nn.Module], None],
    compare: Any,
) -> None:
    config, theirs = make_hubert(**style)
    randomise(theirs)
    task = {"normalize": normalize, "labels": ["km"]}
    parts = {"task_cfg": task, "model_cfg": config, "model_weight": theirs.state_dict()}
    torch.save({**parts, "dictionaries_symbols": [["a", "b", "c"]]}, tmp_path / "m.pt")
    reference = experts(HubertExpert(str(tmp_path / "m.pt")).eval())
    if form == "fairseq":
        cfg = {"model": {"_name": "hubert", **config}, "task": {"_name": "hubert_pretraining", **task}}
        torch.save({"args": None, "cfg": cfg, "model": theirs.state_dict()}, tmp_path / "m.pt")
    loaded = checkpoint.load(tmp_path / "m.pt")
    assert loaded.format == {"s3prl": "s3prl_converted", "fairseq": "fairseq_file"}[form]
    assert compare(triples(loaded.encoder, reference, skip=0)) == 12
