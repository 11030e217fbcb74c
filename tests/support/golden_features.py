"""Features of small models with weights that follow a formula; as a script it writes features/golden/features.json.

Do so after raising CODE_VERSION in skill_bench/upstream/interface.py, never instead.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import soundfile
import torch

from skill_bench.corpora.data import Utterance
from skill_bench.features.extract import extract
from skill_bench.models.architecture import RelativePosition
from skill_bench.models.checkpoint import LoadedModel
from skill_bench.models.encoder import Encoder
from skill_bench.models.factories import architecture
from skill_bench.records.record import System
from skill_bench.upstream.encoder import EncoderUpstream
from skill_bench.upstream.filterbank import FilterbankUpstream
from skill_bench.upstream.interface import CODE_VERSION, Upstream
from skill_bench.upstream.spec import Filterbank

GOLDEN = Path(__file__).parent.parent / "features" / "golden" / "features.json"


def upstreams() -> dict[str, Upstream]:
    """A post-norm WavLM, a pre-norm HuBERT and a filterbank."""
    small = {"channels": 8, "dim": 16, "n_layers": 2, "n_heads": 2, "ffn_dim": 24, "position_kernel": 8}
    bias = RelativePosition(n_buckets=32, max_distance=80)
    encoders = {
        "wavlm": Encoder(architecture(**small, position_groups=4, relative_position=bias)),  # type: ignore[arg-type]
        "hubert_large": Encoder(architecture(**small, position_groups=4, large=True, conv_bias=True)),  # type: ignore[arg-type]
    }
    found: dict[str, Upstream] = {}
    for name, encoder in encoders.items():
        with torch.no_grad():
            for number, (_, parameter) in enumerate(sorted(encoder.named_parameters())):
                values = torch.sin(torch.arange(parameter.numel(), dtype=torch.float64) * 0.7 + number)
                scale = 1.5 / parameter[0].numel() ** 0.5 if parameter.ndim > 1 else 0.5
                parameter.copy_((values * scale).view_as(parameter))
        loaded = LoadedModel(encoder=encoder, metadata={}, format="formula", sha256=name)
        found[name] = EncoderUpstream(loaded=loaded, system=_system(name))
    found["filterbank"] = FilterbankUpstream(filterbank=Filterbank(normalize_utterance=False), system=_system("fbank"))
    return found


def compute(folder: Path) -> dict[str, list[list[float]]]:
    """Mean features of two files, one of them in stereo at 8 kHz: every layer, every fifth dimension."""
    items = []
    for name, rate, channels in (("plain", 16000, 1), ("stereo", 8000, 2)):
        time = np.arange(round((0.7 + 0.2 * channels) * rate))[:, None] / rate
        pitch = 180 + 60 * np.arange(channels)
        wave = 0.2 * np.sin(2 * np.pi * pitch * time) + 0.1 * np.sin(2 * np.pi * 1230 * time**2)
        soundfile.write(folder / f"{name}.wav", wave, rate, subtype="FLOAT")
        items.append(
            Utterance(id=name, path=folder / f"{name}.wav", target="", speaker=None, seconds=1.0, source="formula")
        )
    found = {}
    for name, upstream in upstreams().items():
        features = extract(upstream, items, pooled=True, cache_dir=folder / "cache")
        found[name] = [features[item.id][:, ::5].flatten().tolist() for item in items]
    return found


def _system(name: str) -> System:
    return System(name=name, title=name, identity="formula")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        GOLDEN.parent.mkdir(exist_ok=True)
        content = {"code_version": CODE_VERSION, "means": compute(Path(made))}
        GOLDEN.write_text(json.dumps(content, indent=0) + "\n", encoding="utf-8")
