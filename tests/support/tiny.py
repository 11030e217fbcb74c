"""Synthetic corpora in the official layouts of SUPERB's corpora, with configurations as s3prl's yaml files have them,
down to the number of workers.

Each function fills a folder with a few short tones and returns s3prl's configuration dictionary for its downstream.
"""

from __future__ import annotations

import csv
import itertools
import json
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

Config = dict[str, Any]
RATE_HZ = 16_000


def tone(path: Path, frequency_hz: float, *, seconds: float = 0.6) -> Path:
    """A decaying tone with a little seeded noise, as 16-bit audio."""
    path.parent.mkdir(parents=True, exist_ok=True)
    time = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    noise = np.random.default_rng(round(frequency_hz)).uniform(-0.01, 0.01, len(time))
    soundfile.write(path, 0.4 * np.sin(2 * np.pi * frequency_hz * time) + noise, RATE_HZ, subtype="PCM_16")
    return path


def runner(*, steps: int = 2, evaluate: tuple[str, ...] = ("dev",), **more: Any) -> Config:
    """The part of a configuration that steers training."""
    return {
        "runner": {
            "total_steps": steps,
            "gradient_clipping": 1,
            "gradient_accumulate_steps": 1,
            "log_step": 1,
            "eval_step": steps,
            "save_step": steps,
            "max_keep": 1,
            "eval_dataloaders": list(evaluate),
            **more,
        },
        "optimizer": {"name": "TorchOptim", "torch_optim_name": "Adam", "lr": 1.0e-3},
    }


def arguments(downstream: str, expdir: Path, **changes: Any) -> Namespace:
    """What s3prl's command line hands to its runner."""
    defaults = {
        "mode": "train", "evaluate_split": "test", "hub": "torch", "upstream": "fbank", "upstream_ckpt": None,
        "upstream_model_config": None, "upstream_refresh": False, "upstream_trainable": False,
        "upstream_feature_selection": "hidden_states", "upstream_layer_selection": None,
        "upstream_feature_normalize": False, "downstream": downstream, "downstream_variant": None,
        "expdir": str(expdir),
        "seed": 1337, "device": "cpu", "local_rank": None, "init_ckpt": None, "push_to_hf_hub": False,
    }  # fmt: skip
    return Namespace(**(defaults | changes))


RNN: Config = {
    "total_rate": -1, "module": "LSTM", "bidirection": True, "dim": [8], "dropout": [0.0], "layer_norm": [False],
    "proj": [False], "sample_rate": [1], "sample_style": "concat",
}  # fmt: skip
SPECAUG: Config = {
    "adaptive": False, "adaptive_number_ratio": 0.04, "adaptive_size_ratio": 0.04, "max_n_time_masks": 20,
    "apply_time_warp": True, "apply_time_mask": True, "apply_freq_mask": True, "time_warp_window": 5,
    "time_mask_width_range": [0, 4], "freq_mask_width_range": [0, 5], "num_freq_mask": 1, "num_time_mask": 1,
}  # fmt: skip
MEAN_POOLING = {"projector_dim": 16, "select": "UtteranceLevel", "UtteranceLevel": {"pooling": "MeanPooling"}}


def speech_commands(root: Path) -> Config:
    """KS: a folder a word, speakers in the file names; the names are chosen so that s3prl's hash puts some into dev."""
    words = ("yes", "no", "bird")
    for (i, word), speaker in itertools.product(enumerate(words), range(30)):
        tone(root / "train" / word / f"{speaker:08x}_nohash_0.wav", 200 + 50 * i + speaker, seconds=0.3)
    tone(root / "train" / "_background_noise_" / "noise.wav", 90, seconds=1.5)
    for i, word in enumerate(("yes", "no", "_unknown_", "_silence_")):
        tone(root / "test" / word / f"test_{i}.wav", 210 + 50 * i)
    data = {"speech_commands_root": str(root / "train"), "speech_commands_test_root": str(root / "test")}
    return runner() | {
        "downstream_expert": {"datarc": data | {"num_workers": 8, "batch_size": 4}, "modelrc": MEAN_POOLING}
    }


def voxceleb1(root: Path) -> Config:
    """SID: dev/wav/<speaker>/<video>/<file>.wav and a list of "part path"."""
    lines = []
    for speaker, (part, number) in itertools.product((10001, 10002), ((1, 1), (1, 2), (2, 3), (3, 4))):
        name = f"id{speaker}/video{number}/0000{number}.wav"
        tone(root / "dev" / "wav" / name, 200 + speaker % 10 * 80 + number)
        lines.append(f"{part} {name}\n")
    (root / "veri_test_class.txt").write_text("".join(lines))
    data = {
        "file_path": str(root),
        "meta_data": str(root / "veri_test_class.txt"),
        "num_workers": 12,
        "max_timestep": 8000,
    }
    data |= {"train_batch_size": 2, "eval_batch_size": 1}
    return runner() | {"downstream_expert": {"datarc": data, "modelrc": MEAN_POOLING}}


def emotion(root: Path) -> Config:
    """ER: IEMOCAP's sessions and the two json files a fold."""
    labels = {"neu": 0, "hap": 1, "ang": 2, "sad": 3}
    for part, count in (("train", 10), ("test", 4)):
        meta = []
        for i in range(count):
            path = tone(root / f"Session1/sentences/wav/{part}/{part}_{i}.wav", 200 + 40 * (i % 4) + i)
            meta.append({"path": str(path.relative_to(root)), "label": list(labels)[i % 4], "speaker": "Ses01F"})
        file = root / "meta" / "Session1" / f"{part}_meta_data.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"labels": labels, "meta_data": meta}))
    data = {
        "root": str(root),
        "meta_data": str(root / "meta"),
        "test_fold": "fold1",
        "pre_load": True,
        "valid_ratio": 0.2,
    }
    data |= {"train_batch_size": 2, "eval_batch_size": 2, "num_workers": 6}
    return runner() | {"downstream_expert": {"datarc": data, "modelrc": MEAN_POOLING}}


def fluent_commands(root: Path) -> Config:
    """IC: three tables of paths with an action, an object and a location."""
    slots = [("activate", "lights", "kitchen"), ("deactivate", "music", "none")]
    for part in ("train", "valid", "test"):
        table = root / "data" / f"{part}_data.csv"
        table.parent.mkdir(parents=True, exist_ok=True)
        with table.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["path", "speakerId", "transcription", "action", "object", "location"])
            for i in range(4):
                path = tone(root / "wavs" / part / f"{part}{i}.wav", 200 + 60 * (i % 2) + i)
                writer.writerow([path.relative_to(root), "s", "text", *slots[i % 2]])
    data = {"file_path": str(root), "num_workers": 12, "train_batch_size": 2, "eval_batch_size": 2}
    return runner() | {"downstream_expert": {"datarc": data, "modelrc": MEAN_POOLING}}


def librispeech(root: Path, *, parts: tuple[str, ...]) -> None:
    """<part>/<speaker>/<chapter>/<speaker>-<chapter>-<number>.flac and the transcripts beside them."""
    texts = ["THE CAT", "A DOG", "THE DOG SAT", "A CAT SAT"]
    for speaker, part in enumerate(parts, start=1):
        folder = root / part / str(speaker) / "7"
        for i, _ in enumerate(texts):
            tone(folder / f"{speaker}-7-{i:04d}.flac", 200 + 30 * i, seconds=1.0 + 0.1 * i)
        (folder / f"{speaker}-7.trans.txt").write_text(
            "".join(f"{speaker}-7-{i:04d} {text}\n" for i, text in enumerate(texts))
        )


def asr(root: Path) -> Config:
    """ASR: LibriSpeech, a table of lengths, a dictionary of characters."""
    librispeech(root, parts=("train-clean-100", "dev-clean", "test-clean"))
    for part in ("train-clean-100", "dev-clean", "test-clean"):
        rows = [
            f"{p.relative_to(root)},{soundfile.info(p).frames // 160}\n" for p in sorted((root / part).rglob("*.flac"))
        ]
        (root / f"{part}.csv").write_text("file_path,length\n" + "".join(rows))
    (root / "char.dict").write_text("".join(f"{character} 1\n" for character in "|ETAONIHSRDLUMCWFGYPBVKXJQZ'"))
    data = {"train": ["train-clean-100"], "dev-clean": ["dev-clean"], "test-clean": ["test-clean"], "num_workers": 12}
    data |= {
        "train_batch_size": 2,
        "batch_size": 2,
        "eval_batch_size": 1,
        "zero_infinity": True,
        "libri_root": str(root),
    }
    data |= {"bucket_file": str(root), "dict_path": str(root / "char.dict"), "decoder_args": {"decoder_type": "None"}}
    expert = {"datarc": data, "modelrc": {"project_dim": 8, "select": "RNNs", "RNNs": {**RNN}}}
    return runner(evaluate=("dev-clean",)) | {"specaug": {**SPECAUG}, "downstream_expert": expert}


def ctc(root: Path) -> Config:
    """PR: LibriSpeech, a lexicon, a list of phones."""
    librispeech(root, parts=("train-clean-100", "dev-clean", "test-clean"))
    (root / "lexicon.txt").write_text("THE DH AH0\nTHE DH IY0\nA AH0\nCAT K AE1 T\nDOG D AO1 G\nSAT S AE1 T\n")
    (root / "phoneme.txt").write_text(
        "\n".join(["SIL", "SPN", "AH0", "AE1", "AO1", "D", "DH", "G", "IY0", "K", "S", "T"]) + "\n"
    )
    corpus = {"name": "libriphone", "path": str(root), "lexicon": [str(root / "lexicon.txt")], "bucketing": True}
    corpus |= {
        "train": ["train-clean-100"],
        "dev": ["dev-clean"],
        "test": ["test-clean"],
        "batch_size": 2,
        "num_workers": 24,
    }
    expert = {
        "corpus": corpus,
        "text": {"mode": "word", "vocab_file": str(root / "phoneme.txt")},
        "model": {"project_dim": 16, "zero_infinity": True, "select": "FrameLevel"},
        "save_best_on": ["dev"],
        "metric_higher_better": False,
        "metric": ["per"],
    }
    return runner() | {"downstream_expert": expert}


def ctc_snips(root: Path) -> Config:
    """SF: Audio SNIPS by speaker, words with their slots, a list of characters."""
    speakers = {"train": "Ivy", "valid": "Amy", "test": "Emma"}
    said = ["BOS PLAY HELLO EOS\tO O track PlayMusic", "BOS PLAY LET IT BE EOS\tO O track track track PlayMusic"]
    lines = []
    for (part, speaker), (i, text) in itertools.product(speakers.items(), enumerate(said)):
        name = f"{speaker}-snips-{part}-{i}"
        tone(root / part / f"{name}.wav", 300 + 100 * i, seconds=1.0)
        lines.append(f"{name} {text}\n")
    (root / "all.iob.snips.txt").write_text("".join(lines))
    (root / "slots.txt").write_text("O\ntrack")
    (root / "character.txt").write_text("".join(f"{character}\n" for character in " 'ABCDEFGHIJKLMNOPQRSTUVWXYZ"))
    corpus: Config = {"name": "snips", "path": str(root), "train": ["train"], "dev": ["valid"], "test": ["test"]}
    corpus |= {"bucketing": True, "batch_size": 2, "num_workers": 12}
    corpus |= {f"{part}_speakers": [speaker] for part, speaker in speakers.items()}
    expert = {
        "corpus": corpus,
        "text": {
            "mode": "character-slot",
            "vocab_file": str(root / "character.txt"),
            "slots_file": str(root / "slots.txt"),
        },
        "model": {"project_dim": 16, "zero_infinity": True, "select": "RNNs", "RNNs": {**RNN}},
        "save_best_on": ["dev"],
        "metric_higher_better": True,
        "metric": [
            "slot_type_f1", "slot_value_cer", "slot_value_wer", "slot_edit_f1_full", "slot_edit_f1_part", "wer", "cer",
        ],
    }  # fmt: skip
    return runner() | {"specaug": {**SPECAUG}, "downstream_expert": expert}


def sv_voxceleb1(root: Path) -> Config:
    """ASV: dev/wav and test/wav by speaker, and a list of trials."""
    for part, speaker, number in itertools.product(("dev", "test"), (1, 2), (1, 2)):
        tone(
            root / part / "wav" / f"id1000{speaker}" / "video" / f"0000{number}.wav",
            200 + 100 * speaker + number,
            seconds=2.0,
        )
    pairs = [(1, "1", "1", "1", "2"), (1, "2", "1", "2", "2"), (0, "1", "1", "2", "1"), (0, "1", "2", "2", "2")]
    trials = root / "trials.txt"
    trials.write_text(
        "".join(f"{label} id1000{a}/video/0000{i}.wav id1000{b}/video/0000{j}.wav\n" for label, a, i, b, j in pairs)
    )
    data: Config = {
        "file_path": str(root),
        "train_meta_data": "",
        "dev_meta_data": str(trials),
        "test_meta_data": str(trials),
    }
    data |= {"vad_config": {"min_sec": 1600}, "max_timestep": 16000, "num_workers": 4}
    data |= {"train_batch_size": 2, "eval_batch_size": 1}
    module = {"XVector": {"agg_dim": 1500, "dropout_p": 0.0, "batch_norm": False}}
    model = {"module": "XVector", "input_dim": 512, "agg_module": "SP", "utter_module": "UtteranceExtractor"}
    model |= {
        "module_config": module,
        "ObjectiveLoss": "AMSoftmaxLoss",
        "LossConfig": {"AMSoftmaxLoss": {"s": 30.0, "m": 0.4}},
    }
    return runner(evaluate=()) | {"downstream_expert": {"datarc": data, "modelrc": model}}


def diarization(root: Path) -> Config:
    """SD: Kaldi folders of two-speaker mixtures."""
    for part in ("train", "dev", "test"):
        folder = root / part
        wavs = [tone(folder / "wav" / f"rec{i}.wav", 250 + 100 * i, seconds=3.0) for i in range(2)]
        names = [w.stem for w in wavs]
        (folder / "wav.scp").write_text("".join(f"{n} {w}\n" for n, w in zip(names, wavs, strict=True)))
        (folder / "reco2dur").write_text("".join(f"{n} 3.0\n" for n in names))
        (folder / "segments").write_text("".join(f"{n}-a {n} 0.0 1.8\n{n}-b {n} 1.2 3.0\n" for n in names))
        (folder / "utt2spk").write_text("".join(f"{n}-a spkA\n{n}-b spkB\n" for n in names))
        (folder / "spk2utt").write_text(
            "spkA " + " ".join(f"{n}-a" for n in names) + "\nspkB " + " ".join(f"{n}-b" for n in names) + "\n"
        )
    data = {
        "chunk_size": 200,
        "subsampling": 1,
        "label_delay": 0,
        "num_speakers": 2,
        "rate": RATE_HZ,
        "frame_shift": None,
    }
    loader: Config = {"num_workers": 8, "train_batchsize": 2, "eval_batchsize": 1}
    loader |= {f"{part}_dir": str(root / part) for part in ("train", "dev", "test")}
    expert = {"datarc": data, "loaderrc": loader, "scorerc": {"save_predictions": True}}
    return runner() | {"downstream_expert": expert | {"modelrc": {"rnn_layers": 1, "hidden_size": 16}}}


def quesst14_dtw(root: Path) -> Config:
    """QbE: queries and documents, listed with their language; nothing is trained."""
    listed = {"dev": "dev_queries", "eval": "eval_queries", "utterances": "Audio"}
    for name, folder in listed.items():
        lines = []
        for i in range(3):
            tone(root / folder / f"{name}_{i}.wav", 200 + 150 * i, seconds=1.0 if name == "utterances" else 0.5)
            lines.append(f"quesst14Database/{folder}/{name}_{i}.wav {'nnenglish' if i else 'czech'}\n")
        (root / "scoring").mkdir(exist_ok=True)
        (root / "scoring" / f"language_key_{name}.lst").write_text("".join(lines))
    dtw: Config = {"dist_method": "cosine_exp", "minmax_norm": True, "step_pattern": "asymmetric", "subsequence": True}
    expert: Config = {"max_workers": 1, "feature_normalization": True, "silence_frame": None, "dtwrc": dtw}
    return {
        "runner": {},
        "downstream_expert": expert | {"datarc": {"dataset_root": str(root), "num_workers": 8, "batch_size": 1}},
    }


LAYOUTS: dict[str, Callable[[Path], Config]] = {
    function.__name__: function
    for function in (
        ctc,
        ctc_snips,
        asr,
        speech_commands,
        voxceleb1,
        emotion,
        fluent_commands,
        sv_voxceleb1,
        diarization,
        quesst14_dtw,
    )
}


def downstream(layout: str) -> str:
    """What s3prl calls the task of a layout; PR and SF are one, with other corpora."""
    return layout.removesuffix("_snips")
