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

from skill_bench.base.sample_rate import SAMPLE_RATE_HZ
from skill_bench.corpora.data import TaskData
from skill_bench.s3prl import layouts
from skill_bench.s3prl.layouts import (
    POOLING,
    STAND_FOR,
    configuration,
    copy_audio,
    settled,
    write_audio,
    write_utterance,
)


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
        copy_audio(source / row["path"], folder / name)
    noises = sorted((source / "_background_noise_").iterdir())
    for noise in noises:
        copy_audio(noise, out / "train" / "_background_noise_" / f"{noise.stem}.wav")
        samples, _ = soundfile.read(noise, dtype="int16")
        for second in range(min(per_word or 10, len(samples) // SAMPLE_RATE_HZ)):
            crop = samples[second * SAMPLE_RATE_HZ : (second + 1) * SAMPLE_RATE_HZ]
            write_audio(out / "test" / "_silence_" / f"{noise.stem}_{second}.wav", crop)
    data = {"speech_commands_root": str(out / "train"), "speech_commands_test_root": str(out / "test")}
    expert = {"datarc": data | {"num_workers": 0, "batch_size": 16}, "modelrc": POOLING}
    return configuration(out, expert, steps=steps, learning_rate=1.0e-3)


LAYOUTS = {"speech_commands": speech_commands}

# From here on, as in skill_bench.s3prl.layouts: the very utterances of a task's data, each in the part it has there.


def pr_from_data(data: TaskData, out: Path, **settings: Any) -> Path:
    """PR; every phone is a word of its own, with itself as its pronunciation."""
    phones = sorted({phone for utterance in data.utterances() for phone in utterance.target.split()})
    _librispeech_from_data(data, out)
    (out / "lexicon.txt").write_text("".join(f"{phone} {phone}\n" for phone in phones))
    (out / "phoneme.txt").write_text("\n".join(phones) + "\n")
    corpus: dict[str, Any] = {
        "name": "libriphone",
        "path": str(out),
        "lexicon": [str(out / "lexicon.txt")],
        "bucketing": True,
    }
    corpus |= {part: [place] for part, place in PLACES.items()}
    corpus |= {"batch_size": settings["batch_size"], "num_workers": 0}
    expert = {
        "corpus": corpus,
        "text": {"mode": "word", "vocab_file": str(out / "phoneme.txt")},
        "model": {"project_dim": 256, "zero_infinity": True, "select": "FrameLevel"},
        "save_best_on": ["dev"],
        "metric_higher_better": False,
        "metric": ["per"],
    }
    return settled(out, expert, settings)


def asr_from_data(data: TaskData, out: Path, **settings: Any) -> Path:
    """ASR; a table of lengths a part, and a dictionary of characters."""
    _librispeech_from_data(data, out)
    for part in PLACES.values():
        files = sorted((out / part).rglob("*.flac"))
        rows = [f"{path.relative_to(out)},{soundfile.info(path).frames // 160}\n" for path in files]
        (out / f"{part}.csv").write_text("file_path,length\n" + "".join(rows))
    (out / "char.dict").write_text("".join(f"{character} 1\n" for character in "|ETAONIHSRDLUMCWFGYPBVKXJQZ'"))
    size, head = settings["batch_size"], settings["head"]
    datarc: dict[str, Any] = {"train": [PLACES["train"]], "dev-clean": [PLACES["dev"]], "test-clean": [PLACES["test"]]}
    datarc |= {"num_workers": 0, "train_batch_size": size, "batch_size": size, "eval_batch_size": 1}
    datarc |= {"zero_infinity": True, "libri_root": str(out), "bucket_file": str(out)}
    datarc |= {"dict_path": str(out / "char.dict"), "decoder_args": {"decoder_type": "None"}}
    n = len(head["hidden_dims"])
    rnns: dict[str, Any] = {"total_rate": -1, "module": "LSTM", "bidirection": True, "dim": list(head["hidden_dims"])}
    rnns |= {"dropout": [head["dropout"]] * n, "layer_norm": [False] * n, "proj": [False] * n}
    rnns |= {"sample_rate": [1] * n, "sample_style": "concat"}
    model = {"project_dim": head["projection_dim"], "select": "RNNs", "RNNs": rnns}
    return settled(out, {"datarc": datarc, "modelrc": model}, settings, evaluate="dev-clean")


PLACES = {"train": "train-clean-100", "dev": "dev-clean", "test": "test-clean"}
FROM_DATA = {**layouts.FROM_DATA, "pr": pr_from_data, "asr": asr_from_data}


def _librispeech_from_data(data: TaskData, out: Path) -> None:
    """One speaker and chapter a part, with the transcripts beside the audio."""
    (fold,) = data.folds
    for speaker, (part, utterances) in enumerate(fold.splits(), start=1):
        folder = out / PLACES[part] / str(speaker) / "7"
        lines = []
        for i, utterance in enumerate(utterances):
            write_utterance(utterance, folder / f"{speaker}-7-{i:04d}.flac")
            lines.append(f"{speaker}-7-{i:04d} {utterance.target}\n")
        (folder / f"{speaker}-7.trans.txt").write_text("".join(lines))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Lay out a real corpus as one of s3prl's downstream tasks reads it.")
    parser.add_argument("downstream", choices=sorted(LAYOUTS))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=300)
    arguments = parser.parse_args()
    print(
        LAYOUTS[arguments.downstream](Path(os.environ["SKILL_BENCH_CORPORA"]), arguments.folder, steps=arguments.steps)
    )
