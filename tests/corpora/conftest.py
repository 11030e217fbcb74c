"""Small audio files and manifests, made where a test needs them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from small_suite import WriteAudio


@pytest.fixture
def write_audio(tmp_path: Path) -> WriteAudio:
    """``write_audio(name, seconds=, rate_hz=, channels=, subtype=)``: noise in a file under tmp_path."""

    def write(
        name: str, *, seconds: float = 0.5, rate_hz: int = 16_000, channels: int = 1, subtype: str | None = "PCM_16"
    ) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        n = round(seconds * rate_hz)
        samples = np.random.default_rng(len(name)).uniform(-0.5, 0.5, (n, channels))
        soundfile.write(path, samples, rate_hz, subtype=subtype)
        return path

    return write
