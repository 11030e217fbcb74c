"""Miniatures of the official layouts that SUPERB's tasks read, made of the real corpora of SKILL_BENCH_CORPORA.

``make(task's corpus, corpora, data root)`` lays out a few seconds of real speech as the archive would. What the real
corpus cannot give (names, a session's number, a lexicon's rare words) is made up; audio, texts and labels are real.
"""

from __future__ import annotations

import csv
import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import layouts
import numpy as np
import pytest
import soundfile

from skill_bench.corpora.official import doctor
from skill_bench.corpora.official.doctor import OfficialTask, counts
from skill_bench.evaluation.task_files import load_task

RATE_HZ = 16_000


def make(name: str, corpora: Path, data_root: Path) -> Path:
    """The miniature of one corpus under ``data_root``; returns its folder."""
    folder: Path = _MAKERS[name](corpora, data_root)
    return folder


def make_all(corpora: Path, data_root: Path) -> Path:
    """The miniatures of all corpora; returns ``data_root``."""
    for name in doctor.corpora():
        make(name, corpora, data_root)
    return data_root


def pass_for_complete(monkeypatch: pytest.MonkeyPatch, data_root: Path) -> None:
    """The catalogue states what the miniatures have."""

    def expected(self: OfficialTask) -> dict[str, int]:
        return counts(self.read(data_root / self.corpus.folder))

    monkeypatch.setattr(OfficialTask, "expected", expected)
    for corpus in doctor.corpora().values():
        monkeypatch.setitem(corpus.__dict__, "hours", None)


def rows(corpora: Path, corpus: str) -> list[dict[str, str]]:
    """The manifest of a real corpus, with absolute paths."""
    with (corpora / corpus / "manifest.tsv").open(encoding="utf-8") as file:
        found = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [row | {"path": str(corpora / corpus / row["path"])} for row in found]


def write(path: Path, source: str, seconds: float = 1.0) -> Path:
    """The first seconds of a recording, as 16-bit WAV or FLAC."""
    samples, rate_hz = soundfile.read(source, dtype="int16", frames=int(seconds * RATE_HZ))
    assert rate_hz == RATE_HZ
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, RATE_HZ, subtype="PCM_16")
    return path


def librispeech(corpora: Path, data_root: Path) -> Path:
    folder = data_root / "LibriSpeech"
    words = set()
    for split, wanted in (("train-clean-100", "train"), ("dev-clean", "dev"), ("test-clean", "test")):
        chosen = [row for row in rows(corpora, "librispeech") if row["split"] == wanted][:3]
        for row in chosen:
            source = Path(row["path"])
            speaker, chapter, _ = source.stem.split("-")
            write(folder / split / speaker / chapter / source.name, row["path"], seconds=2)
            with (folder / split / speaker / chapter / f"{speaker}-{chapter}.trans.txt").open("a") as file:
                file.write(f"{source.stem} {row['text']}\n")
            words |= set(row["text"].split())
    said: dict[str, list[str]] = {}
    stated = set(load_task("pr").model_dump()["target"]["vocabulary"])
    for row in rows(corpora, "speechocean762"):
        phones = [word.split() for word in row["phones"].split("|")]
        # speechocean762 also writes vowels without a stress, the lexicons never.
        if len(phones) == len(row["text"].split()) and all(stated.issuperset(word) for word in phones):
            said |= dict(zip(row["text"].split(), phones, strict=True))
    lexicon = folder / "lexicon"
    lexicon.mkdir()
    known = sorted(words & said.keys())
    assert len(known) > 20, "most pronunciations are real"
    first = [f"{word}\t{' '.join(said[word])}\n" for word in known]
    (lexicon / "librispeech-lexicon-200k-g2p.txt").write_text("".join(first))
    rest = [f"{word}\tS P AH1 N\n" for word in [known[0], *sorted(words - said.keys())]]
    (lexicon / "librispeech-lexicon-allothers-g2p.txt").write_text("".join(rest))
    return folder


def speech_commands(corpora: Path, data_root: Path) -> Path:
    layouts.speech_commands(corpora, data_root, steps=1, per_word=24)
    (data_root / "config.yaml").unlink()
    (data_root / "train").rename(data_root / "speech_commands_v0.01")
    (data_root / "test").rename(data_root / "speech_commands_test_set_v0.01")
    return data_root


def voxceleb1(corpora: Path, data_root: Path) -> Path:
    folder = data_root / "VoxCeleb1"
    by_speaker: dict[str, list[str]] = defaultdict(list)
    for row in rows(corpora, "speechocean762"):
        by_speaker[row["speaker"]].append(row["path"])
    names, lines = [], []
    for number, speaker in enumerate(sorted(by_speaker)[:60]):
        # Of the first 54, two in 24 are dev speakers of ASV; the last six are those of the verification test.
        half, name = ("test", f"id{10270 + number}") if number >= 54 else ("dev", f"id{10001 + number}")
        for take, path in enumerate(by_speaker[speaker][:4]):
            relative = f"{name}/video{take // 2}/{take % 2 + 1:05d}.wav"
            write(folder / half / "wav" / relative, path)
            lines.append(f"{(1, 1, 2, 3)[take]} {relative}\n")
            if half == "test":
                names.append(relative)
    (folder / "iden_split.txt").write_text("".join(lines))
    trials = [f"1 {names[i]} {names[i + 1]}\n0 {names[i]} {names[(i + 4) % len(names)]}\n" for i in range(0, 20, 2)]
    (folder / "voxceleb1_test_v2.txt").write_text("".join(trials))
    return folder


def iemocap(corpora: Path, data_root: Path) -> Path:
    folder = data_root / "IEMOCAP_full_release"
    codes = {"anger": "ang", "happiness": "hap", "neutral": "neu", "sadness": "sad"}
    taken: Counter[tuple[str, str, str]] = Counter()
    for row in rows(corpora, "emodb"):
        number, who = row["fold"][-1], row["gender"].upper()
        key = (number, who, row["emotion"])
        if taken[key] >= 2:
            continue
        code = "exc" if row["emotion"] == "happiness" and taken[key] else codes[row["emotion"]]
        scene = f"Ses0{number}F_impro0{1 + taken[key]}"
        taken[key] += 1
        name = f"{scene}_{who}{len(taken):03d}"
        session = folder / f"Session{number}"
        write(session / "sentences" / "wav" / scene / f"{name}.wav", row["path"], seconds=0.5)
        labels = session / "dialog" / "EmoEvaluation" / f"{scene}.txt"
        labels.parent.mkdir(parents=True, exist_ok=True)
        with labels.open("a") as file:
            file.write(f"[6.2901 - 8.2357]\t{name}\t{code}\t[2.5000, 2.5000, 2.5000]\nC-E2:\tNeutral;\t()\n")
    hidden = folder / "Session1" / "dialog" / "EmoEvaluation" / "._Ses01F_impro01.txt"
    hidden.write_bytes(b"\x00\x05\x16\x07\xff")
    frustrated = folder / "Session1" / "dialog" / "EmoEvaluation" / "Ses01F_impro01.txt"
    first = next((folder / "Session1" / "sentences" / "wav" / "Ses01F_impro01").iterdir())
    write(first.with_name("Ses01F_impro01_M999.wav"), str(first), seconds=0.5)
    with frustrated.open("a") as file:
        file.write("[1.0 - 2.0]\tSes01F_impro01_M999\tfru\t[2.5000, 2.5000, 2.5000]\n")
    return folder


def fluent_speech_commands(corpora: Path, data_root: Path) -> Path:
    folder = data_root / "fluent_speech_commands_dataset"
    columns = ["", "path", "speakerId", "transcription", "action", "object", "location"]
    for split, wanted in (("train", "train"), ("valid", "dev"), ("test", "test")):
        chosen = [row for row in rows(corpora, "speech_to_intent") if row["split"] == wanted][:6]
        listing = folder / "data" / f"{split}_data.csv"
        listing.parent.mkdir(parents=True, exist_ok=True)
        with listing.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(columns)
            for number, row in enumerate(chosen):
                path = f"wavs/speakers/s{number % 2}/{Path(row['path']).stem}.wav"
                write(folder / path, row["path"])
                intent = [row["intent"], row["coffeeDrink"], row["roast"] or "none"]
                writer.writerow([number, path, f"s{number % 2}", f"A {row['coffeeDrink']}, please", *intent])
    return folder


def audio_snips(corpora: Path, data_root: Path) -> Path:
    from skill_bench.corpora.official.readers.audio_snips import SPEAKERS

    folder = data_root / "SNIPS"
    lines, slots = [], set()
    for split, wanted in (("train", "train"), ("valid", "dev"), ("test", "test")):
        chosen = [row for row in rows(corpora, "speech_to_intent") if row["split"] == wanted][:4]
        for number, row in enumerate(chosen):
            # The last one has a voice of another split, which s3prl leaves out.
            speaker = SPEAKERS[split][number] if number < 3 else "Amy" if split == "test" else "Brian"
            name = f"{speaker}-snips-{split}-{number}"
            write(folder / split / speaker / f"{name}.wav", row["path"])
            words, labels = ["I", "'D", "LIKE"], ["O", "O", "O"]
            for slot, value in json.loads(row["slots_json"]).items():
                words += [*value.upper().split(), ","]
                labels += [slot] * len(value.split()) + ["O"]
            words, labels = [*words[:-1], "&", "THANKS", "."], [*labels[:-1], "O", "O", "O"]
            slots |= set(labels)
            lines.append(f"{name} BOS {' '.join(words)} EOS\tO {' '.join(labels)} orderDrink\n")
    (folder / "all.iob.snips.txt").write_text("".join(lines))
    (folder / "slots.txt").write_text("\n".join(["O", *sorted(slots - {"O"})]))
    return folder


def quesst14(corpora: Path, data_root: Path) -> Path:
    folder = data_root / "quesst14Database"
    chosen = [row for row in rows(corpora, "arabic_speech_commands") if row["keyword"] in ("yes", "no", "up", "down")]
    by_part = {
        "utterances": [row for row in chosen if row["split"] == "test"][::4],
        "dev": [row for row in chosen if row["split"] == "train"][::60],
        "eval": [row for row in chosen if row["split"] == "dev"][::20],
    }
    names: dict[str, list[tuple[str, str]]] = {}
    for part, taken in by_part.items():
        place = "Audio" if part == "utterances" else f"{part}_queries"
        prefix = "quesst14" if part == "utterances" else f"quesst14_{part}"
        lines = []
        names[part] = []
        for number, row in enumerate(taken):
            name = f"{prefix}_{number:05d}"
            write(folder / place / f"{name}.wav", row["path"])
            language = "nnenglish" if number % 5 else "czech"
            lines.append(f"quesst14Database/{place}/{name}.wav {language}\n")
            names[part].append((name, row["keyword"]))
        (folder / "scoring").mkdir(exist_ok=True)
        (folder / "scoring" / f"language_key_{part}.lst").write_text("".join(lines))
    for part in ("dev", "eval"):
        truth = folder / "scoring" / f"groundtruth_quesst14_{part}" / f"quesst14_{part}.rttm"
        truth.parent.mkdir()
        truth.write_text(
            "".join(
                f"LEXEME {document} 1 0.00 1.00 {query} lex <NA> <NA>\n"
                for query, term in names[part]
                for document, said in names["utterances"]
                if said == term
            )
        )
    return folder


def libri2mix(corpora: Path, data_root: Path) -> Path:
    folder = data_root / "Libri2Mix"
    for split, wanted, place in (
        ("train", "train", "train-100"), ("dev", "dev", "dev"), ("test", "test", "test"),
    ):  # fmt: skip
        chosen = [row for row in rows(corpora, "librispeech") if row["split"] == wanted]
        chosen = list({row["speaker"]: row for row in chosen}.values())[:6]
        files: dict[str, list[str]] = defaultdict(list)
        for first, second in zip(chosen[::2], chosen[1::2], strict=True):
            name = f"{Path(first['path']).stem}_{Path(second['path']).stem}"
            waves = [soundfile.read(row["path"], dtype="float32", frames=2 * RATE_HZ)[0] for row in (first, second)]
            mixture = np.sum([0.4 * wave for wave in waves], axis=0)
            path = folder / "wav16k" / "max" / place / "mix_both" / f"{name}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, mixture, RATE_HZ)
            files["wav.scp"].append(f"{name} /somewhere/else/{path.relative_to(data_root)}")
            files["reco2dur"].append(f"{name} {len(mixture) / RATE_HZ}")
            for row, start, end in ((first, 0.1, 1.1), (second, 0.5, 1.9), (first, 1.4, 2.0)):
                turn = f"{name}_{row['speaker']}_{int(100 * start):04d}"
                files["segments"].append(f"{turn} {name} {start} {end}")
                files["utt2spk"].append(f"{turn} {row['speaker']}")
        target = folder / "diarization" / split
        target.mkdir(parents=True)
        for name, lines in files.items():
            (target / name).write_text("\n".join(lines) + "\n")
    return folder


_MAKERS: dict[str, Any] = {
    maker.__name__: maker
    for maker in (
        librispeech, speech_commands, voxceleb1, iemocap, fluent_speech_commands, audio_snips, quesst14, libri2mix,
    )
}  # fmt: skip
