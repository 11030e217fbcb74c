"""A described suite of one task, on twelve recordings of tones.

What several tests of corpora use.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
from fake_speech import tone_file

from skill_bench.corpora.data import Utterance

SPLIT = [*["train"] * 4, *["dev"] * 4, *["test"] * 4]
COLUMNS = ("path", "split", "speaker", "text", "phones", "turns")
RTTM = "SPEAKER {name} 1 {start} {length} <NA> <NA> {who} <NA> <NA>\n"
TASKS = {
    "asr": 'target = "text"\ntarget_kind = "text"',
    "pr": 'target = "phones"\ntarget_kind = "phones"\nphones = { inventory = ["AA", "B"] }',
    "sid": 'target = "speaker"',
    "asv": 'target = "speaker"\ntrials = { seed = 0, same_per_speaker = 1, different_per_speaker = 1 }',
    "sd": 'target = "turns"\ntarget_kind = "rttm"',
}
WriteAudio = Callable[..., Path]


def write(root: Path, task: str, *, cells: dict[tuple[int, str], str], extra: str = "") -> None:
    """A corpus of twelve recordings of half a second; ``cells`` replaces values of (line, column)."""
    lines = ["\t".join(COLUMNS)]
    for number, split in enumerate(SPLIT):
        tone_file(root / f"u{number}.wav", "ABAB", seed=number)
        (root / f"u{number}.rttm").write_text(
            RTTM.format(name=f"u{number}", start=0, length=0.3, who="s0")
            + RTTM.format(name=f"u{number}", start=0.2, length=0.25, who="s1")
        )
        row = {
            "path": f"u{number}.wav",
            "split": split,
            # Each part has two speakers of its own.
            "speaker": f"{split}{number % 2}" if task == "asv" else f"s{number % 2}",
            "text": "AB BA",
            "phones": "AA B",
            "turns": f"u{number}.rttm",
        }
        row |= {column: value for (line, column), value in cells.items() if line == number}
        lines.append("\t".join(row[column] for column in COLUMNS))
    (root / "manifest.tsv").write_text("\n".join(lines) + "\n" + extra)
    (root / "suite.toml").write_text(f'[tasks.{task}]\nmanifest = "manifest.tsv"\n{TASKS[task]}\n')


def audio_writer(folder: Path) -> WriteAudio:
    """``write(name, seconds=, rate_hz=, channels=, subtype=)``: noise in a file under ``folder``."""

    def write(
        name: str, *, seconds: float = 0.5, rate_hz: int = 16_000, channels: int = 1, subtype: str | None = "PCM_16"
    ) -> Path:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        n = round(seconds * rate_hz)
        samples = np.random.default_rng(len(name)).uniform(-0.5, 0.5, (n, channels))
        soundfile.write(path, samples, rate_hz, subtype=subtype)
        return path

    return write


def utterance(path: Path, *, number: int = 2, id: str | None = None, target: str = "a") -> Utterance:
    return Utterance(
        id=id or path.name, path=path, target=target, speaker=None, seconds=None, source=f"manifest.tsv:{number}"
    )
