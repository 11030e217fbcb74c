"""The code's part in the cache key: other features from the same weights need another CODE_VERSION."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from fake_speech import tone_file, utterance
from golden_features import GOLDEN, compute, upstreams

from skill_bench.corpora.audio.audio import load_audio
from skill_bench.features.extract import extract
from skill_bench.upstream.interface import CODE_VERSION


def test_features_of_this_code_version_are_these(tmp_path: Path) -> None:
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert golden["code_version"] == CODE_VERSION, "run tests/support/golden_features.py"
    found = compute(tmp_path)
    assert set(found) == set(golden["means"])
    for name, means in found.items():
        for mine, theirs in zip(means, golden["means"][name], strict=True):
            difference = (torch.tensor(mine) - torch.tensor(theirs)).abs().max()
            # Summation order differs between machines and kernels by about 1e-6; a change of the computation does more.
            assert difference < 1e-4 * torch.tensor(theirs).abs().max(), (
                f"{name}: the same weights give other features. If that is meant, raise CODE_VERSION in "
                "skill_bench/upstream/interface.py, so that no cache mixes them, and run "
                "tests/support/golden_features.py"
            )


@pytest.mark.parametrize("name", sorted(upstreams()))
def test_cached_equals_uncached(name: str, tmp_path: Path) -> None:
    upstream = upstreams()[name]
    texts = ["A", "ABCD", "AB", "BBBBBB", "CD"]
    items = [utterance(tone_file(tmp_path / f"u{i}.wav", t, seed=i), t, line=i) for i, t in enumerate(texts)]
    extract(upstream, items, pooled=True, cache_dir=tmp_path)
    extract(upstream, items, pooled=False, cache_dir=tmp_path)
    means = extract(upstream, items, pooled=True, cache_dir=tmp_path)
    frames = extract(upstream, items, pooled=False, cache_dir=tmp_path)
    assert (means.n_extracted, frames.n_extracted) == (0, 0)
    for item in items:
        states = upstream.hidden_states([load_audio(item.path, source="").waveform])[0]
        size = float(states.abs().max())
        # Alone or in a batch, a float32 sum over some thousand terms rounds differently.
        torch.testing.assert_close(means[item.id], states.mean(dim=1), rtol=1e-5, atol=1e-5 * size)
        torch.testing.assert_close(frames[item.id].float(), states, rtol=2**-10, atol=1e-5 * size)
