"""The very utterances of a task's data, laid out as s3prl's downstream tasks read them, each in the part it has here.

Every function fills a folder and returns the configuration for s3prl's ``-c``. Settings: ``steps``, ``batch_size``,
``learning_rate``, ``evaluate_every_steps``.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import soundfile
import yaml

from skill_bench.base.sample_rate import SAMPLE_RATE_HZ
from skill_bench.corpora.audio.audio import load_utterance
from skill_bench.corpora.data import TaskData, Utterance
from skill_bench.corpora.official.readers.speech_commands import percent_of

POOLING = {"projector_dim": 256, "select": "UtteranceLevel", "UtteranceLevel": {"pooling": "MeanPooling"}}

# The corpus' target words that the official twelve classes lack take the place of those that it lacks itself.
STAND_FOR = {"start": "on", "backward": "off", "forward": "go"}


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
                write_utterance(utterance, out / "test" / label / f"{number:05d}.wav")
            elif label == "_silence_":
                noise[utterance.path] = None
            else:
                folder = out / "train" / ("other" if label == "_unknown_" else label)
                write_utterance(utterance, folder / f"{names[part]}_nohash_{number}.wav")
    for path in noise:
        copy_audio(path, out / "train" / "_background_noise_" / f"{path.stem}.wav")
    places = {"speech_commands_root": str(out / "train"), "speech_commands_test_root": str(out / "test")}
    datarc = places | {"num_workers": 0, "batch_size": settings["batch_size"]}
    return settled(out, {"datarc": datarc, "modelrc": POOLING}, settings)


def sid_from_data(data: TaskData, out: Path, **settings: Any) -> Path:
    """SID; speakers become id10001, id10002, ... in the order of their names."""
    (fold,) = data.folds
    speakers = sorted({utterance.target for utterance in fold.train})
    lines = []
    for number, (part, utterances) in enumerate(fold.splits(), start=1):
        for i, utterance in enumerate(utterances):
            name = f"id{10001 + speakers.index(utterance.target)}/{part}/{i:05d}.wav"
            write_utterance(utterance, out / "dev" / "wav" / name)
            lines.append(f"{number} {name}\n")
    (out / "veri_test_class.txt").write_text("".join(lines))
    datarc: dict[str, Any] = {"file_path": str(out), "meta_data": str(out / "veri_test_class.txt"), "num_workers": 0}
    datarc |= {"max_timestep": 128_000, "train_batch_size": settings["batch_size"], "eval_batch_size": 1}
    return settled(out, {"datarc": datarc, "modelrc": POOLING}, settings)


def er_from_data(data: TaskData, out: Path, **settings: Any) -> Path:
    """ER, the first fold; s3prl draws its own dev set, a fifth of train and dev together."""
    fold = data.folds[0]
    labels = {label: number for number, label in enumerate(sorted({u.target for u in data.utterances()}))}
    for part, utterances in {"train": [*fold.train, *fold.dev], "test": fold.test}.items():
        rows = []
        for i, utterance in enumerate(utterances):
            name = f"Session1/{part}/{i:05d}.wav"
            write_utterance(utterance, out / name)
            rows.append({"path": name, "label": utterance.target, "speaker": utterance.speaker or ""})
        meta = out / "meta" / "Session1" / f"{part}_meta_data.json"
        meta.parent.mkdir(parents=True, exist_ok=True)
        meta.write_text(json.dumps({"labels": labels, "meta_data": rows}))
    size = settings["batch_size"]
    datarc: dict[str, Any] = {"root": str(out), "meta_data": str(out / "meta"), "test_fold": "fold1", "pre_load": True}
    datarc |= {"valid_ratio": 0.2, "train_batch_size": size, "eval_batch_size": size, "num_workers": 0}
    return settled(out, {"datarc": datarc, "modelrc": POOLING}, settings)


FROM_DATA = {"ks": ks_from_data, "sid": sid_from_data, "er": er_from_data}


def configuration(out: Path, expert: dict[str, Any], *, steps: int, learning_rate: float) -> Path:
    """Writes s3prl's configuration of a training run with Adam."""
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


def settled(out: Path, expert: dict[str, Any], settings: dict[str, Any], *, evaluate: str = "dev") -> Path:
    """As `configuration`, with the settings' interval between evaluations."""
    path = configuration(out, expert, steps=settings["steps"], learning_rate=settings["learning_rate"])
    content = yaml.safe_load(path.read_text())
    content["runner"] |= {"eval_step": settings["evaluate_every_steps"], "eval_dataloaders": [evaluate]}
    path.write_text(yaml.safe_dump(content))
    return path


def _speaker(least: float, most: float) -> str:
    """A name whose hash lies between two percentages."""
    for number in itertools.count():
        name = f"{number:08x}"
        if least <= percent_of(name) < most:
            return name
    raise AssertionError("unreachable")


def write_utterance(utterance: Utterance, target: Path) -> None:
    """The utterance as our side hears it; 24 bits hold it more finely than float16 features."""
    target.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(target, load_utterance(utterance).waveform.numpy(), SAMPLE_RATE_HZ, subtype="PCM_24")


def copy_audio(source: Path, target: Path) -> None:
    """A 16 kHz file as 16-bit WAV."""
    samples, rate_hz = soundfile.read(source, dtype="int16")
    assert rate_hz == SAMPLE_RATE_HZ, source
    write_audio(target, samples)


def write_audio(target: Path, samples: Any) -> None:
    """Integers as 16-bit audio; makes the folder."""
    target.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(target, samples, SAMPLE_RATE_HZ, subtype="PCM_16")
