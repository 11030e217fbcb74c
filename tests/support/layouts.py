"""Real corpora in the official layouts that s3prl's downstream tasks read, for runs by hand and for tests.

By hand, Speech Commands from SKILL_BENCH_CORPORA into a folder, with the configuration s3prl's -c takes::

    python tests/support/layouts.py speech_commands FOLDER --steps 300
    python -m skill_bench.s3prl run_downstream -m train -u skill -d speech_commands \
        -c FOLDER/config.yaml -p FOLDER/exp --device cpu
    python -m skill_bench.s3prl run_downstream -m evaluate -e FOLDER/exp/dev-best.ckpt --device cpu
"""

from __future__ import annotations

import argparse
import csv
import os
from collections import Counter
from pathlib import Path
from typing import Any

import soundfile
import yaml

RATE_HZ = 16_000

# The corpus' target words that the official twelve classes lack take the place of those that it lacks itself.
STAND_FOR = {"start": "on", "backward": "off", "forward": "go"}


def speech_commands(corpora: Path, out: Path, *, steps: int, per_word: int | None = None) -> Path:
    """KS from arabic_speech_commands: ``train/<word>/<speaker>_nohash_<n>.wav``, ``test/<label>/…``, background noise.

    The corpus' own test speakers make the test archive. Its train and dev speakers go into ``train``, where s3prl
    chooses dev by a hash of the speaker's name, and leaves out about a tenth.

    Args:
        corpora: folder with arabic_speech_commands/.
        out: folder to fill; also gets config.yaml.
        steps: training updates.
        per_word: at most so many recordings of a word in each part.

    Returns:
        The configuration file, for s3prl's ``-c``.
    """
    source = corpora / "arabic_speech_commands"
    taken: Counter[tuple[str, str]] = Counter()
    with (source / "manifest.tsv").open(encoding="utf-8") as manifest:
        rows = list(csv.DictReader(manifest, delimiter="\t"))
    for row in sorted(
        rows, key=lambda row: Path(row["path"]).stem[::-1]
    ):  # a spread over speakers, should per_word cut
        test = row["split"] == "test"
        word = row["label12"] if test else row["keyword"]
        folder = out / ("test" if test else "train") / STAND_FOR.get(word, word)
        key = ("test" if test else "train", row["label12"])
        if per_word is not None and taken[key] >= per_word:
            continue
        name = f"{row['speaker']}_nohash_{taken[key]}.wav"
        taken[key] += 1
        _copy(source / row["path"], folder / name)
    noises = sorted((source / "_background_noise_").iterdir())
    for noise in noises:
        _copy(noise, out / "train" / "_background_noise_" / f"{noise.stem}.wav")
        samples, _ = soundfile.read(noise, dtype="int16")
        for second in range(min(per_word or 10, len(samples) // RATE_HZ)):
            crop = samples[second * RATE_HZ : (second + 1) * RATE_HZ]
            _write(out / "test" / "_silence_" / f"{noise.stem}_{second}.wav", crop)
    data = {"speech_commands_root": str(out / "train"), "speech_commands_test_root": str(out / "test")}
    pooling = {"projector_dim": 256, "select": "UtteranceLevel", "UtteranceLevel": {"pooling": "MeanPooling"}}
    expert = {"datarc": data | {"num_workers": 0, "batch_size": 16}, "modelrc": pooling}
    return _configuration(out, expert, steps=steps, learning_rate=1.0e-3)


def _configuration(out: Path, expert: dict[str, Any], *, steps: int, learning_rate: float) -> Path:
    runner = {
        "total_steps": steps,
        "gradient_clipping": 1,
        "gradient_accumulate_steps": 1,
        "log_step": max(1, steps // 10),
        "eval_step": max(1, steps // 2),
        "save_step": max(1, steps // 2),
        "max_keep": 2,
        "eval_dataloaders": ["dev"],
    }
    optimizer = {"name": "TorchOptim", "torch_optim_name": "Adam", "lr": learning_rate}
    path = out / "config.yaml"
    path.write_text(yaml.safe_dump({"runner": runner, "optimizer": optimizer, "downstream_expert": expert}))
    return path


def _copy(source: Path, target: Path) -> None:
    samples, rate_hz = soundfile.read(source, dtype="int16")
    assert rate_hz == RATE_HZ, source
    _write(target, samples)


def _write(target: Path, samples: Any) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(target, samples, RATE_HZ, subtype="PCM_16")


LAYOUTS = {"speech_commands": speech_commands}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Lay out a real corpus as one of s3prl's downstream tasks reads it.")
    parser.add_argument("downstream", choices=sorted(LAYOUTS))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=300)
    arguments = parser.parse_args()
    print(
        LAYOUTS[arguments.downstream](Path(os.environ["SKILL_BENCH_CORPORA"]), arguments.folder, steps=arguments.steps)
    )
