"""Prints sox.json: what SoX 14.4.2 makes of a few signals, and how long its ASV chain leaves some real recordings.

Run: python make_sox.py CORPORA > sox.json, with CORPORA as in SKILL_BENCH_CORPORA. Needs the program sox (Debian
package ``sox``). The signals come from sox_signals.py, 32-bit float WAV in and out, so that neither quantisation nor
dither takes part.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))
from sox_signals import ASV, CASES, signal

STEP = 151  # samples kept: enough to see any shift, few enough for a small file
CORPORA = ("librispeech", "emodb", "speechocean762", "speech_to_intent")


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
