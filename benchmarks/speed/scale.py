"""Extraction over ever more speech: time should grow as the speech does, memory not at all."""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import soundfile
import torch
from jaxtyping import Float
from torch import Tensor

from skill_bench.base.progress import Progress
from skill_bench.base.sample_rate import SAMPLE_RATE_HZ
from skill_bench.corpora.data import Utterance
from skill_bench.corpora.synthetic.espeak import Voice
from skill_bench.corpora.synthetic.synthesis import Line, synthesise
from skill_bench.features.extract import extract
from skill_bench.measure.memory import reset_peak, resident_peak_bytes
from skill_bench.models import factories
from skill_bench.models.encoder import Encoder
from skill_bench.models.runtime import Runtime
from skill_bench.models.size import size_of
from speed.figures import Growth, Load

_TEXT = "the quick brown fox jumps over the lazy dog and runs along the river until the sun goes down behind the hills"


def growth(*, progress: Progress, hours: tuple[float, ...]) -> Growth:
    """Extracts the frames of so many hours, each in a process of its own."""
    loads = []
    with tempfile.TemporaryDirectory(prefix="skill-bench-scale-") as name:
        speech = _speech(Path(name))
        context = multiprocessing.get_context("spawn")
        with progress.stage("extraction of ever more speech", total=len(hours)) as advance:
            for wanted in hours:
                with ProcessPoolExecutor(1, mp_context=context) as process:
                    loads.append(process.submit(_load, speech, wanted, torch.get_num_threads()).result())
                advance(1)
    return Growth(
        name="Extraction of ever more speech",
        what=(
            "Frames of all hidden states of a small encoder "
            f"({size_of(_encoder()) / 1e6:.2f} M parameters) into an empty cache, each "
            "time in a new process: utterances of 4 to 16 s out of ten minutes of synthesised speech. Memory is "
            "the most that the process has held at one time, libraries included."
        ),
        loads=tuple(loads),
    )


def _load(speech: Path, hours: float, n_threads: int) -> Load:
    torch.set_num_threads(n_threads)
    source, utterances = _Timed(), _utterances(speech, hours)
    extract(source, utterances[:4], pooled=False, cache_dir=speech.parent / f"warm-up-{hours}")
    source.seconds = 0.0
    with tempfile.TemporaryDirectory(dir=speech.parent) as cache:
        reset_peak()
        start = time.perf_counter()
        extract(source, utterances, pooled=False, cache_dir=Path(cache))
        seconds = time.perf_counter() - start
    return Load(
        audio_hours=sum(u.seconds or 0.0 for u in utterances) / 3600,
        seconds=seconds,
        encoder_seconds=source.seconds,
        peak_bytes=resident_peak_bytes(),
    )


class _Timed:
    """A small encoder that adds up the time spent in it."""

    name, identity = "small", "small encoder of the benchmark"

    def __init__(self) -> None:
        self.runtime, self.seconds = Runtime(_encoder()), 0.0

    @torch.no_grad()
    def hidden_states(self, waves: list[Float[Tensor, " samples"]]) -> list[Float[Tensor, "layers frames dim"]]:
        start = time.perf_counter()
        found = self.runtime.hidden_states(waves)
        self.seconds += time.perf_counter() - start
        return found


def _encoder() -> Encoder:
    torch.manual_seed(0)
    shape = factories.architecture(
        channels=64, dim=96, n_layers=3, n_heads=4, ffn_dim=192, relative_position=factories.WAVLM_POSITION,
        position_kernel=32,
    )  # fmt: skip
    return Encoder(shape).eval().requires_grad_(False)


def _speech(folder: Path) -> Path:
    """Ten minutes of one synthetic voice, said again and again after the first half minute."""
    spoken = synthesise([Line(file="said.flac", text=_TEXT, voice=Voice())], folder)
    samples, rate_hz = soundfile.read(folder / spoken[0].file, dtype="float32")
    assert rate_hz == SAMPLE_RATE_HZ, rate_hz
    n = 600 * SAMPLE_RATE_HZ
    path = folder / "speech.wav"
    soundfile.write(path, np.tile(samples, -(-n // len(samples)))[:n], SAMPLE_RATE_HZ, subtype="PCM_16")
    return path


def _utterances(speech: Path, hours: float) -> list[Utterance]:
    random = np.random.default_rng(0)
    found: list[Utterance] = []
    left = round(hours * 3600 * SAMPLE_RATE_HZ)
    while left > 0:
        n = min(int(random.integers(4 * SAMPLE_RATE_HZ, 16 * SAMPLE_RATE_HZ)), max(left, SAMPLE_RATE_HZ))
        start = int(random.integers(0, 600 * SAMPLE_RATE_HZ - n))
        found.append(
            Utterance(
                id=f"u{len(found)}", path=speech, target="", speaker=None, seconds=n / SAMPLE_RATE_HZ,
                source="benchmark", start_frame=start, n_frames=n,
            )
        )  # fmt: skip
        left -= n
    return found
