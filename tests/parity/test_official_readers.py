"""Readers of the official layouts against s3prl's own: the same files, labels, splits, trials and turns."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import miniatures
import numpy as np
import pytest

import skill_bench.s3prl  # noqa: F401  s3prl's modules import only after this
from skill_bench.corpora.data import Fold, Utterance
from skill_bench.corpora.official.doctor import corpora as catalogue
from skill_bench.corpora.official.doctor import official_tasks
from skill_bench.corpora.official.readers.audio_snips import SPEAKERS


@pytest.fixture(scope="module")
def data_root(corpora: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("official")
    for name in catalogue():
        miniatures.make(name, corpora, root)
    return root


def ours(task: str, data_root: Path) -> tuple[Fold, ...]:
    official = official_tasks()[task]
    return official.read(data_root / official.corpus.folder)


def labelled(part: tuple[Utterance, ...]) -> dict[Path, str]:
    return {u.path.resolve(): u.target for u in part if u.start_frame is None}


def test_speech_commands(data_root: Path) -> None:
    from s3prl.dataio.corpus.speech_commands import SpeechCommandsV1

    theirs = SpeechCommandsV1(
        str(data_root / "speech_commands_v0.01"), str(data_root / "speech_commands_test_set_v0.01")
    )
    (fold,) = ours("ks", data_root)
    for part, found in ((fold.train, theirs.train), (fold.dev, theirs.valid), (fold.test, theirs.test)):
        expected = {Path(item["wav_path"]).resolve(): item["class_name"] for item in found.values()}
        # Ours cuts the silence of train and dev from the same noise files, s3prl names the whole files.
        expected = {path: label for path, label in expected.items() if path.parent.name != "_background_noise_"}
        assert len(expected) > 10
        assert labelled(part) == expected


def test_fluent_speech_commands(data_root: Path) -> None:
    from s3prl.downstream.fluent_commands.expert import DownstreamExpert

    folder = data_root / "fluent_speech_commands_dataset"
    theirs = SimpleNamespace(datarc={"file_path": str(folder)})
    DownstreamExpert.get_dataset(theirs)
    (fold,) = ours("ic", data_root)
    for part, table in zip(
        (fold.train, fold.dev, fold.test), (theirs.train_df, theirs.valid_df, theirs.test_df), strict=True
    ):
        assert labelled(part) == {
            (folder / row["path"]).resolve(): f"{row['action']}|{row['object']}|{row['location']}"
            for _, row in table.iterrows()
        }
        assert len(table) == 6
    values = [{u.target.split("|")[slot] for u in fold.train} for slot in range(3)]
    assert [len(slot) for slot in values] == theirs.values_per_slot


def test_iemocap(data_root: Path, tmp_path: Path) -> None:
    import json
    import shutil

    from s3prl.downstream.emotion.IEMOCAP_preprocess import main

    folder = shutil.copytree(data_root / "IEMOCAP_full_release", tmp_path / "iemocap")
    for hidden in folder.rglob("._*"):
        hidden.unlink()  # s3prl would read them as text
    main(str(folder))
    names = {"neu": "neutral", "hap": "happy", "ang": "angry", "sad": "sad"}
    for fold in ours("er", data_root):
        found = json.loads((folder / "meta_data" / fold.name / "test_meta_data.json").read_text())["meta_data"]
        assert len(found) >= 8
        assert {u.id: u.target for u in fold.test} == {Path(item["path"]).stem: names[item["label"]] for item in found}
        rest = json.loads((folder / "meta_data" / fold.name / "train_meta_data.json").read_text())["meta_data"]
        assert {u.id for u in (*fold.train, *fold.dev)} == {Path(item["path"]).stem for item in rest}


def test_voxceleb_identification_and_trials(data_root: Path) -> None:
    from s3prl.dataio.corpus.voxceleb1sid import VoxCeleb1SID

    folder = data_root / "VoxCeleb1"
    theirs = VoxCeleb1SID(str(folder), cache_root=str(folder))
    (fold,) = ours("sid", data_root)
    for part, ids in zip((fold.train, fold.dev, fold.test), theirs.data_split_ids, strict=True):
        expected = {Path(theirs.all_data[name]["wav_path"]).resolve(): theirs.all_data[name]["label"] for name in ids}
        found = {path: f"speaker_{int(label[2:]) - 10001}" for path, label in labelled(part).items()}
        assert found == expected
        assert len(expected) >= 60
    from s3prl.downstream.sv_voxceleb1.dataset import SpeakerVerifi_test

    table = SpeakerVerifi_test({}, str(folder / "test" / "wav"), str(folder / "voxceleb1_test_v2.txt")).pair_table
    (asv,) = ours("asv", data_root)
    path_of = {u.id: str(u.path) for u in asv.test}
    assert [[str(int(t.same)), path_of[t.enrolment], path_of[t.test]] for t in asv.trials] == table
    assert len(table) == 20


def test_audio_snips_targets_are_what_the_tokenizer_spells(data_root: Path) -> None:
    from s3prl.dataio.corpus.snips import SNIPS
    from s3prl.downstream.ctc.text import CharacterTextSlotEncoder

    folder = data_root / "SNIPS"
    theirs = SNIPS(folder, *[list(SPEAKERS[split]) for split in ("train", "valid", "test")])
    slots = (folder / "slots.txt").read_text().split("\n")[1:]
    encoder = CharacterTextSlotEncoder(list("ABCDEFGHIJKLMNOPQRSTUVWXYZ '0"), [f"{t}-{s}" for s in slots for t in "BE"])
    lines = dict(line.split(" ", 1) for line in (folder / "all.iob.snips.txt").read_text().splitlines())
    (fold,) = ours("sf", data_root)
    for part, ids in zip((fold.train, fold.dev, fold.test), theirs.data_split_ids, strict=True):
        assert {u.id for u in part} == set(ids)
        for u in part:
            spelt = " ".join(encoder.decode(encoder.encode(lines[u.id])).split())
            assert u.target == spelt
    assert sum(u.target.count("B-") for u in fold.test) >= 3


def test_quesst(data_root: Path) -> None:
    from s3prl.downstream.quesst14_dtw.dataset import QUESST14Dataset
    from s3prl.downstream.quesst14_embedding.quesst14_trainset import parse_rttm

    folder = data_root / "quesst14Database"
    (fold,) = ours("qbe", data_root)
    for split, documents, queries in (("dev", fold.dev, fold.dev_queries), ("eval", fold.test, fold.queries)):
        theirs = QUESST14Dataset(split, dataset_root=str(folder))
        assert [u.path for u in (*queries, *documents)] == theirs.data
        held = parse_rttm(folder / "scoring" / f"groundtruth_quesst14_{split}" / f"quesst14_{split}.rttm")
        names = {d.id for d in documents}
        expected = {(q.id, d) for q in queries for d in held.get(q.id, []) if d in names}
        assert {(query, d.id) for d in documents for query in d.target.split()} == expected
        assert len(expected) > 4


def test_libri2mix_labels(data_root: Path, tmp_path: Path) -> None:
    from s3prl.downstream.diarization.dataset import DiarizationDataset

    (fold,) = ours("sd", data_root)
    folder = tmp_path / "kaldi"
    folder.mkdir()
    source = data_root / "Libri2Mix" / "diarization" / "test"
    for name in ("segments", "utt2spk", "reco2dur"):
        (folder / name).write_text((source / name).read_text())
    (folder / "wav.scp").write_text("".join(f"{u.id} {u.path}\n" for u in fold.test))
    theirs: Any = DiarizationDataset("train", str(folder), frame_shift=320, num_speakers=2, chunk_size=2000)
    found = {rec: theirs[i][1] for i, (rec, _, _) in enumerate(theirs.chunk_indices)}
    assert set(found) == {u.id for u in fold.test}
    for u in fold.test:
        labels = np.zeros_like(found[u.id])
        speakers = sorted({turn.speaker for turn in u.segments})
        for turn in u.segments:
            begin, end = (int(np.rint(second * 16_000 / 320)) for second in (turn.start_seconds, turn.end_seconds))
            labels[begin:end, speakers.index(turn.speaker)] = 1
        assert labels.sum() > 50
        assert (labels == found[u.id]).all()


def test_librispeech_phones(data_root: Path) -> None:
    from s3prl.downstream.ctc.corpus.libriphone import LibriPhoneDataset

    class Words:
        """s3prl's word tokenizer, without numbers."""

        def encode(self, text: str) -> list[str]:
            return text.split()

    folder = data_root / "LibriSpeech"
    lexicon = [str(path) for path in sorted((folder / "lexicon").iterdir())]
    (fold,) = ours("pr", data_root)
    for split, part in (("train-clean-100", fold.train), ("dev-clean", fold.dev), ("test-clean", fold.test)):
        theirs: Any = LibriPhoneDataset([split], Words(), 1, str(folder), lexicon)
        expected = {Path(path): " ".join(phones) for path, phones in (theirs[i] for i in range(len(theirs)))}
        assert {u.path: u.target for u in part} == expected
        assert len(expected) == 3
