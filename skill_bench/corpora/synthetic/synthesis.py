"""Speaks lines into 16 kHz FLAC files, in a process of its own: same lines, same order, same bytes.

Run as ``python -m skill_bench.corpora.synthetic.synthesis`` it reads a job as JSON from
standard input; `synthesise` does that.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from skill_bench.base.errors import SkillBenchError
from skill_bench.base.sample_rate import SAMPLE_RATE_HZ
from skill_bench.corpora.synthetic.espeak import Espeak, Voice

_PACKAGE_PARENT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True, kw_only=True)
class Line:
    """One thing to say, and the recording conditions that are imitated.

    Attributes:
        file: Where to write it, relative to the job's folder; FLAC.
        text: What to say.
        voice: How.
        level_db: Root mean square of the speech, dB below full scale.
        snr_db: Ratio of speech to added noise; None adds none.
        tilt: -0.9 to 0.9, a one-pole filter on speech (negative: dull, positive: thin), imitating microphones.
        noise_colour: 0 white to 0.95 rumbling.
        seed: Of the noise.
    """

    file: str
    text: str
    voice: Voice
    level_db: float = -26.0
    snr_db: float | None = None
    tilt: float = 0.0
    noise_colour: float = 0.0
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Spoken:
    """What became of a line."""

    file: str
    seconds: float
    phones: tuple[str, ...]


def synthesise(lines: Sequence[Line], folder: Path) -> list[Spoken]:
    """Speaks the lines, in order, in a new process.

    Raises:
        SkillBenchError: the process failed; with the end of what it said.
    """
    job = json.dumps({"folder": str(folder), "lines": [asdict(line) for line in lines]})
    path = os.pathsep.join(filter(None, (str(_PACKAGE_PARENT), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        [sys.executable, "-P", "-m", "skill_bench.corpora.synthetic.synthesis"],  # -P: no code of the current folder
        input=job, capture_output=True, text=True, encoding="utf-8", check=False,
        env={**os.environ, "PYTHONPATH": path, "PYTHONIOENCODING": "utf-8"},
    )  # fmt: skip
    if done.returncode != 0:
        raise SkillBenchError(
            f"speech synthesis into {folder} failed (exit status {done.returncode}): {_last_line(done.stderr)}. "
            "Check that espeakng-loader is installed for this platform and that the disk is not full."
        )
    return [
        Spoken(file=item["file"], seconds=item["seconds"], phones=tuple(item["phones"]))
        for item in json.loads(done.stdout)
    ]


def _last_line(text: str) -> str:
    # Of a traceback, the exception.
    return (text.strip().splitlines() or ["no message"])[-1].rstrip(".")


def record(speech: NDArray[np.int16], rate_hz: int, line: Line) -> NDArray[np.float32]:
    """Resamples to 16 kHz and imitates the line's recording conditions; shape ``(samples,)``, clipped to [-1, 1]."""
    from scipy.signal import lfilter, resample_poly

    divisor = int(np.gcd(SAMPLE_RATE_HZ, rate_hz))
    wave = resample_poly(speech / 32768.0, SAMPLE_RATE_HZ // divisor, rate_hz // divisor)
    if line.tilt < 0:
        wave = lfilter([1 + line.tilt], [1, line.tilt], wave)
    elif line.tilt > 0:
        wave = lfilter([1, -line.tilt], [1], wave)
    rms = 10 ** (line.level_db / 20)
    wave = wave * (rms / max(float(np.sqrt(np.mean(wave**2))), 1e-9))
    if line.snr_db is not None:
        noise = lfilter([1], [1, -line.noise_colour], np.random.default_rng(line.seed).standard_normal(len(wave)))
        wave = wave + noise * (rms * 10 ** (-line.snr_db / 20) / float(np.sqrt(np.mean(noise**2))))
    clipped: NDArray[np.float32] = np.clip(wave, -1, 1).astype(np.float32)
    return clipped


def _work(job: dict[str, Any]) -> list[dict[str, Any]]:
    espeak, folder, spoken = Espeak(), Path(job["folder"]), []
    for item in job["lines"]:
        line = Line(**{**item, "voice": Voice(**item["voice"])})
        wave = record(espeak.speak(line.text, line.voice), espeak.rate_hz, line)
        target = folder / line.file
        target.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(target, wave, SAMPLE_RATE_HZ, subtype="PCM_16", format="FLAC")
        phones = espeak.phones(line.text, line.voice)
        spoken.append(asdict(Spoken(file=line.file, seconds=len(wave) / SAMPLE_RATE_HZ, phones=phones)))
    return spoken


if __name__ == "__main__":
    json.dump(_work(json.load(sys.stdin)), sys.stdout)
