"""fbank and logmel against s3prl's own baseline upstreams."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import s3prl.upstream.baseline
import torch
from s3prl.upstream.baseline.expert import UpstreamExpert

from skill_bench.upstream.load import load_upstream

CONFIGS = Path(s3prl.upstream.baseline.__file__).parent


@pytest.mark.parametrize(("name", "config"), [("fbank", "fbank.yaml"), ("logmel", "fbank_no_cmvn.yaml")])
def test_same_as_s3prl(name: str, config: str) -> None:
    theirs: Any = UpstreamExpert(str(CONFIGS / config))
    ours = load_upstream(name)
    generator = torch.Generator().manual_seed(0)
    waves = [0.1 * torch.randn(n, generator=generator) for n in (16000, 800, 12345)]
    expected, given = theirs(waves), ours(waves)
    assert ours.downsample_rate == theirs.get_downsample_rates("hidden_states") == 160
    assert len(given["hidden_states"]) == len(expected["hidden_states"]) == 1
    assert given["last_hidden_state"].shape == (3, 98, 240)
    # The same calls of torchaudio in the same order: equal but for the last bit of the normalisation.
    torch.testing.assert_close(given["hidden_states"][0], expected["hidden_states"][0], rtol=1e-5, atol=1e-5)
    if name == "fbank":
        means = ours.hidden_states(waves)[0][0].mean(dim=0)
        assert means.abs().max() < 1e-4
