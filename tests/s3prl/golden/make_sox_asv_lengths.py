"""Prints sox_asv_lengths.json: samples that SoX's ASV chain leaves of real recordings.

Run: python make_sox_asv_lengths.py CORPORA > sox_asv_lengths.json, with CORPORA as in SKILL_BENCH_CORPORA.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import soundfile

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))
from sox_signals import ASV

NAMES = ("librispeech", "emodb", "speechocean762", "speech_to_intent")


def main(corpora: Path) -> None:
    """Three recordings, evenly spaced, of each corpus."""
    lengths = {}
    for name in NAMES:
        with (corpora / name / "manifest.tsv").open(encoding="utf-8") as file:
            paths = [row["path"] for row in csv.DictReader(file, delimiter="\t")]
        for path in paths[:: len(paths) // 3][:3]:
            with tempfile.NamedTemporaryFile(suffix=".wav") as output:
                command = [
                    "sox",
                    "-V1",
                    "-D",
                    str(corpora / name / path),
                    "-b",
                    "32",
                    "-e",
                    "floating-point",
                    output.name,
                ]
                subprocess.run([*command, *(word for effect in ASV for word in effect)], check=True)
                lengths[f"{name}/{path}"] = soundfile.info(output.name).frames
    print(json.dumps({"effects": ASV, "lengths": lengths}, indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
