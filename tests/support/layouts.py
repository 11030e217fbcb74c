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
import hashlib
import itertools
import os
from collections import Counter
from pathlib import Path
from typing import Any

import soundfile
import yaml

from skill_bench.corpora.audio import load_utterance
from skill_bench.corpora.data import TaskData, Utterance

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
    expert = {"datarc": data | {"num_workers": 0, "batch_size": 16}, "modelrc": POOLING}
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

# From here on: the very utterances of a task's data, each in the part that it has there.


def ks_from_data(data: TaskData, out: Path, **settings: Any) -> Path:
    """KS; speakers are named so that s3prl's hash puts them into the part that they have.

    Silence of train and dev is the noise that our clips were cut from, as one file.
    """
    (fold,) = data.folds
    names = {"train": _speaker(20, 100), "dev": _speaker(0, 10)}
    noise: dict[Path, None] = {}
    for part, utterances in fold.splits():
        for number, utterance in enumerate(utterances):
            label = STAND_FOR.get(utterance.target, utterance.target)
            if part == "test":
                _from_utterance(utterance, out / "test" / label / f"{number:05d}.wav")
            elif label == "_silence_":
                noise[utterance.path] = None
            else:
                folder = out / "train" / ("other" if label == "_unknown_" else label)
                _from_utterance(utterance, folder / f"{names[part]}_nohash_{number}.wav")
    for path in noise:
        _copy(path, out / "train" / "_background_noise_" / f"{path.stem}.wav")
    places = {"speech_commands_root": str(out / "train"), "speech_commands_test_root": str(out / "test")}
    datarc = places | {"num_workers": 0, "batch_size": settings["batch_size"]}
    return _settled(out, {"datarc": datarc, "modelrc": POOLING}, settings)


def sid_from_data(data: TaskData, out: Path, **settings: Any) -> Path:
    """SID; speakers become id10001, id10002, ... in the order of their names."""
    (fold,) = data.folds
    speakers = sorted({utterance.target for utterance in fold.train})
    lines = []
    for number, (part, utterances) in enumerate(fold.splits(), start=1):
        for i, utterance in enumerate(utterances):
            name = f"id{10001 + speakers.index(utterance.target)}/{part}/{i:05d}.wav"
            _from_utterance(utterance, out / "dev" / "wav" / name)
            lines.append(f"{number} {name}\n")
    (out / "veri_test_class.txt").write_text("".join(lines))
    datarc: dict[str, Any] = {"file_path": str(out), "meta_data": str(out / "veri_test_class.txt"), "num_workers": 0}
    datarc |= {"max_timestep": 128_000, "train_batch_size": settings["batch_size"], "eval_batch_size": 1}
    return _settled(out, {"datarc": datarc, "modelrc": POOLING}, settings)


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
    return _settled(out, expert, settings)


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
    return _settled(out, {"datarc": datarc, "modelrc": model}, settings, evaluate="dev-clean")


PLACES = {"train": "train-clean-100", "dev": "dev-clean", "test": "test-clean"}
POOLING = {"projector_dim": 256, "select": "UtteranceLevel", "UtteranceLevel": {"pooling": "MeanPooling"}}
FROM_DATA = {"ks": ks_from_data, "sid": sid_from_data, "pr": pr_from_data, "asr": asr_from_data}


def _librispeech_from_data(data: TaskData, out: Path) -> None:
    """One speaker and chapter a part, with the transcripts beside the audio."""
    (fold,) = data.folds
    for speaker, (part, utterances) in enumerate(fold.splits(), start=1):
        folder = out / PLACES[part] / str(speaker) / "7"
        lines = []
        for i, utterance in enumerate(utterances):
            _from_utterance(utterance, folder / f"{speaker}-7-{i:04d}.flac")
            lines.append(f"{speaker}-7-{i:04d} {utterance.target}\n")
        (folder / f"{speaker}-7.trans.txt").write_text("".join(lines))


def _settled(out: Path, expert: dict[str, Any], settings: dict[str, Any], *, evaluate: str = "dev") -> Path:
    path = _configuration(out, expert, steps=settings["steps"], learning_rate=settings["learning_rate"])
    content = yaml.safe_load(path.read_text())
    content["runner"] |= {"eval_step": settings["evaluate_every_steps"], "eval_dataloaders": [evaluate]}
    path.write_text(yaml.safe_dump(content))
    return path


def _speaker(least: float, most: float) -> str:
    """A name whose hash lies between two percentages (s3prl ``speech_commands/expert.py`` ``split_dataset``)."""
    largest = 2**27 - 1
    for number in itertools.count():
        name = f"{number:08x}"
        share = int(hashlib.sha1(name.encode()).hexdigest(), 16) % (largest + 1) * (100.0 / largest)
        if least <= share < most:
            return name
    raise AssertionError("unreachable")


def _from_utterance(utterance: Utterance, target: Path) -> None:
    """The utterance as our side hears it; 24 bits hold it more finely than float16 features."""
    target.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(target, load_utterance(utterance).waveform.numpy(), RATE_HZ, subtype="PCM_24")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Lay out a real corpus as one of s3prl's downstream tasks reads it.")
    parser.add_argument("downstream", choices=sorted(LAYOUTS))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=300)
    arguments = parser.parse_args()
    print(
        LAYOUTS[arguments.downstream](Path(os.environ["SKILL_BENCH_CORPORA"]), arguments.folder, steps=arguments.steps)
    )
