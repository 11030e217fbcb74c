"""Lists of speech for training without labels."""

from __future__ import annotations

from pathlib import Path

import pytest
from corpora_helpers import WriteAudio

from skill_bench.base.errors import AudioError, DataError, ManifestError, UsageError
from skill_bench.corpora.listing import list_audio


def test_a_plain_folder_is_searched(write_audio: WriteAudio, tmp_path: Path) -> None:
    for name in ("b/2.wav", "a/1.flac", "a/.hidden.wav", ".cache/x.wav"):
        write_audio(name)
    (tmp_path / "a" / "notes.txt").write_text("no audio")
    utterances = list_audio([tmp_path])
    assert [u.path.relative_to(tmp_path).as_posix() for u in utterances] == ["a/1.flac", "b/2.wav"]
    assert utterances[0].id == f"{tmp_path.name}/a/1.flac"


def test_librispeech_folders_are_chosen_by_split(write_audio: WriteAudio, tmp_path: Path) -> None:
    for part in ("train-clean-100", "train-other-500", "dev-clean", "test-other"):
        write_audio(f"LibriSpeech/{part}/19/198/19-198-0000.flac")
    train = list_audio([tmp_path])
    assert [u.path.parts[-4] for u in train] == ["train-clean-100", "train-other-500"]
    assert {u.speaker for u in train} == {"19"}
    assert len(list_audio([tmp_path], split=None)) == 4


def test_a_line_is_trained_on_only_if_every_split_column_says_so(write_audio: WriteAudio, tmp_path: Path) -> None:
    lines = ["path\tsplit\tsid_split\n"]
    for number, (split, sid) in enumerate([("train", "train"), ("train", "test"), ("test", "train")]):
        write_audio(f"deep/corpus/{number}.wav")
        lines.append(f"{number}.wav\t{split}\t{sid}\n")
    (tmp_path / "deep/corpus/manifest.tsv").write_text("".join(lines))
    assert [u.source for u in list_audio([tmp_path])] == ["manifest.tsv:2"]
    assert len(list_audio([tmp_path / "deep/corpus/manifest.tsv"], split=None)) == 3


def test_a_manifest_without_splits_is_refused(write_audio: WriteAudio, tmp_path: Path) -> None:
    write_audio("a.wav")
    (tmp_path / "manifest.tsv").write_text("path\na.wav\n")
    with pytest.raises(ManifestError, match="no column 'split', so it is not known what may be trained on"):
        list_audio([tmp_path])
    with pytest.raises(ManifestError, match=r"it is not known which of its lines are 'test'.*--split all where"):
        list_audio([tmp_path], split="test")
    assert len(list_audio([tmp_path], split=None)) == 1


def test_paths_that_overlap_count_once_and_ids_are_unique(write_audio: WriteAudio, tmp_path: Path) -> None:
    paths = [write_audio("x/wav/1.wav"), write_audio("y/wav/1.wav")]
    utterances = list_audio([tmp_path / "x/wav", tmp_path / "y/wav", paths[0]])
    assert [u.path for u in utterances] == paths
    assert len({u.id for u in utterances}) == 2


def test_what_cannot_be_used_is_named(write_audio: WriteAudio, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nowhere: no such file or folder"):
        list_audio([tmp_path / "nowhere"])
    with pytest.raises(DataError, match=r"no audio of split 'train'\. Looked for \.aif"):
        list_audio([tmp_path])
    write_audio("good.wav")
    for name in ("bad1.wav", "bad2.flac"):
        (tmp_path / name).write_bytes(b"broken")
    with pytest.raises(AudioError) as raised:
        list_audio([tmp_path])
    assert "2 of 3 audio files cannot be used" in str(raised.value)
    assert "bad1.wav (found in a folder): not readable as audio" in str(raised.value)
