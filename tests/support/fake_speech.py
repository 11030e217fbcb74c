"""A tiny upstream and tiny corpora of tones, so that tests of the evaluation need no model and no speech."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor

from skill_bench.corpora.data import Fold, TaskData, Utterance

RATE_HZ = 16000
TONES_HZ = {"A": 300.0, "B": 700.0, "C": 1500.0, "D": 3100.0, " ": 5000.0}


class FakeUpstream:
    """Random projections of log spectra: ``(3, frames, 16)``, one frame every 320 samples.

    Attributes:
        calls: Number of waves in every forward pass so far.
    """

    name = "fake"
    n_hidden_states = 3
    dim = 16
    downsample_rate = 320

    def __init__(self, *, identity: str = "fake-1", poison: bool = False) -> None:
        self.identity = identity
        self.poison = poison
        self.calls: list[int] = []
        generator = torch.Generator().manual_seed(0)
        self._projections = torch.randn(3, 201, 16, generator=generator) / 10

    def hidden_states(self, waves: list[Tensor]) -> list[Tensor]:
        self.calls.append(len(waves))
        return [self._one(wave) for wave in waves]

    def _one(self, wave: Tensor) -> Tensor:
        frames = wave.unfold(0, 400, 320) * torch.hann_window(400)
        spectrum = (torch.fft.rfft(frames).abs() + 1e-3).log()
        states = spectrum @ self._projections
        if self.poison:
            states[1, 0, 0] = float("nan")
        return states  # type: ignore[no-any-return]


def tone_file(path: Path, tones: str, *, seconds_each: float = 0.12, rate_hz: int = RATE_HZ, seed: int = 0) -> Path:
    """A file in which each letter sounds as its tone, with a little noise."""
    time = np.arange(round(seconds_each * rate_hz)) / rate_hz
    wave = np.concatenate([0.3 * np.sin(2 * np.pi * TONES_HZ[tone] * time) for tone in tones])
    wave += 0.01 * np.random.default_rng(seed).standard_normal(len(wave))
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wave, rate_hz)
    return path


def utterance(path: Path, target: str, *, line: int = 1) -> Utterance:
    seconds = soundfile.info(path).duration
    return Utterance(
        id=path.stem, path=path, target=target, speaker=None, seconds=seconds, source=f"manifest.tsv:{line}"
    )


def class_data(folder: Path, *, task: str = "ks", n_each: int = 6, folds: int = 1) -> TaskData:
    """Three easy classes, one to three tones long; ``folds`` rotate which utterances are test."""
    found = [
        utterance(tone_file(folder / f"{letter}{i}.wav", letter * (1 + i % 3), seed=i), letter, line=i)
        for letter in "ABC"
        for i in range(n_each)
    ]

    def fold(k: int) -> Fold:
        place = {u.id: (int(u.id[1:]) + k) % n_each for u in found}
        return Fold(
            name=f"fold{k + 1}",
            train=tuple(u for u in found if place[u.id] >= 3),
            dev=tuple(u for u in found if place[u.id] == 2),
            test=tuple(u for u in found if place[u.id] < 2),
        )

    return TaskData(
        task=task, suite="demo", synthetic=True, folds=tuple(fold(k) for k in range(folds)), fingerprint="f", notes=()
    )


def sequence_data(folder: Path, *, task: str, n_train: int = 24) -> TaskData:
    """Texts of tones: phones ``A B C`` for PR, characters with blanks for ASR."""
    draw = random.Random(0)
    found = []
    for i in range(n_train + 8):
        letters = [draw.choice("ABCD")]
        while len(letters) < 3 + i % 4:
            letters.append(draw.choice([x for x in "ABCD" if x != letters[-1]]))
        text = " ".join(letters) if task == "pr" else "".join(letters[:2]) + " " + "".join(letters[2:])
        tones = "".join(letters) if task == "pr" else text
        found.append(utterance(tone_file(folder / f"{task}{i}.wav", tones, seed=i), text, line=i + 2))
    fold = Fold(name="all", train=tuple(found[:n_train]), dev=tuple(found[n_train:-4]), test=tuple(found[-4:]))
    return TaskData(task=task, suite="demo", synthetic=True, folds=(fold,), fingerprint="f", notes=())
