"""Prints sox_effects.json: what SoX 14.4.2 makes of a few signals. Run: python make_sox_golden.py > sox_effects.json

Needs the program sox (Debian package ``sox``). The signals come from sox_signals.py, 32-bit float WAV in and out, so
that neither quantisation nor dither takes part.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))
from sox_signals import CASES, signal

STEP = 151  # samples kept: enough to see any shift, few enough for a small file


def sox(samples: np.ndarray, rate_hz: int, effects: list[list[str]]) -> np.ndarray:
    """Samples after the effects, ``(samples, channels)``."""
    with tempfile.TemporaryDirectory() as folder:
        before, after = f"{folder}/before.wav", f"{folder}/after.wav"
        soundfile.write(before, samples, rate_hz, subtype="FLOAT")
        command = ["sox", "-V1", "-D", before, "-b", "32", "-e", "floating-point", after]
        subprocess.run([*command, *(word for effect in effects for word in effect)], check=True)
        output: np.ndarray = soundfile.read(after, always_2d=True)[0]
        return output


def main() -> None:
    """Write the JSON to standard output."""
    golden = {}
    for name, case in CASES.items():
        output = sox(signal(case.signal, case.rate_hz), case.rate_hz, case.effects)
        golden[name] = {"length": len(output), "samples": [round(float(x), 9) for x in output[::STEP, 0]]}
    version = subprocess.run(["sox", "--version"], capture_output=True, text=True, check=True).stdout.split()[-1]
    print(json.dumps({"sox": version, "step": STEP, "cases": golden}))


if __name__ == "__main__":
    main()
