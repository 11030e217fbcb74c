"""Signals and chains of effects, and what SoX 14.4.2 makes of them and of some real recordings: golden/sox.json.

Run: python tests/support/sox_signals.py CORPORA > tests/s3prl/golden/sox.json, with CORPORA as in
SKILL_BENCH_CORPORA. Needs the program sox (Debian package ``sox``). Signals are closed formulas, so that no random
stream can change them; 32-bit float WAV in and out, so that neither quantisation nor dither takes part.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

ASV = [["channels", "1"], ["rate", "16000"], ["gain", "-3.0"], ["silence", "1", "0.1", "0.1%", "-1", "0.1", "0.1%"]]
STEP = 151  # samples kept: enough to see any shift, few enough for a small file
CORPORA = ("librispeech", "emodb", "speechocean762", "speech_to_intent")


@dataclass(frozen=True)
class Case:
    """A signal's name, its rate and the effects applied to it."""

    signal: str
    rate_hz: int
    effects: list[list[str]]


CASES = {
    "channels": Case("stereo", 16000, [["channels", "1"]]),
    "gain": Case("bursts", 16000, [["gain", "-3.0"]]),
    "gain clips": Case("bursts", 16000, [["gain", "6"]]),
    "rate from 8000": Case("chirp", 8000, [["rate", "16000"]]),
    "rate from 22050": Case("chirp", 22050, [["rate", "16000"]]),
    "rate from 44100": Case("chirp", 44100, [["rate", "16000"]]),
    "rate from 48000": Case("chirp", 48000, [["rate", "16000"]]),
    "silence as in ASV": Case("bursts", 16000, [ASV[-1]]),
    "silence in decibels": Case("bursts", 16000, [["silence", "1", "0.05", "-30d", "-1", "0.2", "-30d"]]),
    "silence in samples": Case("bursts", 16000, [["silence", "1", "400", "2%", "-1", "4000", "2%"]]),
    "silence stops": Case("bursts", 16000, [["silence", "1", "0.1", "0.1%", "1", "0.1", "0.1%"]]),
    "silence at the start": Case("bursts", 16000, [["silence", "1", "0.1", "1%"]]),
    "nothing but silence": Case("hum", 16000, [ASV[-1]]),
    "the chain of ASV": Case("stereo", 16000, ASV),
}

# Loudness of the bursts: (seconds, amplitude).
_BURSTS = [
    (0.15, 0.0), (0.08, 0.3), (0.07, 0.0002), (0.30, 0.6), (0.09, 0.0003), (0.20, 0.004), (0.35, 0.0004), (0.05, 0.5),
    (0.25, 0.0), (0.40, 0.02), (0.13, 0.0005), (0.15, 0.9), (0.06, 0.0),
]  # fmt: skip


def signal(name: str, rate_hz: int) -> np.ndarray:
    """``(samples,)``, or ``(samples, 2)`` for "stereo"; full scale 1."""
    if name == "chirp":  # 100 Hz to 3 kHz in 0.4 s, faded in and out
        time = np.arange(round(0.4 * rate_hz)) / rate_hz
        return 0.7 * np.sin(np.pi * time / 0.4) ** 2 * np.sin(2 * np.pi * (100 * time + 2900 / 0.8 * time**2))
    if name == "hum":
        return 0.0005 * np.sin(2 * np.pi * 100 * np.arange(rate_hz) / rate_hz)
    loudness = np.concatenate([np.full(round(seconds * rate_hz), amplitude) for seconds, amplitude in _BURSTS])
    time = np.arange(len(loudness)) / rate_hz
    bursts = loudness * (0.6 * np.sin(2 * np.pi * 313.7 * time) + 0.4 * np.sin(2 * np.pi * 1171.3 * time + 1.0))
    return bursts if name == "bursts" else np.stack([bursts, np.roll(bursts, 5000) * 0.5], axis=1)


def sox(recording: Path, effects: list[list[str]]) -> np.ndarray:
    """Samples after the effects, ``(samples, channels)``."""
    with tempfile.NamedTemporaryFile(suffix=".wav") as after:
        command = ["sox", "-V1", "-D", str(recording), "-b", "32", "-e", "floating-point", after.name]
        subprocess.run([*command, *(word for effect in effects for word in effect)], check=True)
        output: np.ndarray = soundfile.read(after.name, always_2d=True)[0]
        return output


def cases() -> dict[str, dict[str, object]]:
    """Every 151st sample of each signal."""
    found: dict[str, dict[str, object]] = {}
    for name, case in CASES.items():
        with tempfile.NamedTemporaryFile(suffix=".wav") as before:
            soundfile.write(before.name, signal(case.signal, case.rate_hz), case.rate_hz, subtype="FLOAT")
            output = sox(Path(before.name), case.effects)
        found[name] = {"length": len(output), "samples": [round(float(x), 9) for x in output[::STEP, 0]]}
    return found


def lengths(corpora: Path) -> dict[str, int]:
    """Samples of three recordings, evenly spaced, of each corpus."""
    found = {}
    for name in CORPORA:
        with (corpora / name / "manifest.tsv").open(encoding="utf-8") as file:
            paths = [row["path"] for row in csv.DictReader(file, delimiter="\t")]
        for path in paths[:: len(paths) // 3][:3]:
            found[f"{name}/{path}"] = len(sox(corpora / name / path, ASV))
    return found


if __name__ == "__main__":
    version = subprocess.run(["sox", "--version"], capture_output=True, text=True, check=True).stdout.split()[-1]
    print(json.dumps({"sox": version, "step": STEP, "cases": cases(), "asv_lengths": lengths(Path(sys.argv[1]))}))
