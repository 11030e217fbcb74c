"""The manifest format and its errors, each with file and line.

Lists with a byte order mark, in UTF-16, with other line ends: read as the plain ones; what does not fit is named.

Lists of speech for training without labels.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from small_suite import WriteAudio

from skill_bench.base.errors import AudioError, DataError, ManifestError, SpecError, UsageError
from skill_bench.corpora.described.lists import read_rttm, read_trials
from skill_bench.corpora.described.manifest import escapes, read_manifest
from skill_bench.corpora.described.suite_toml import read_suite
from skill_bench.corpora.listing import list_audio
from skill_bench.corpora.load import load_task_data
from skill_bench.corpora.official.files import pairs_of
from skill_bench.metrics.diarization import activity, diarization_errors
from skill_bench.s3prl.ctc_corpora import read_lexicon

GOOD = 'path\tseconds\tspeaker\tword\na.wav\t1.5\ts1\tyes\nb/c.wav\t\ts2\tno "quoted"\n'
TURN = "SPEAKER talk 1 {} {} <NA> <NA> {} <NA> <NA>\n"
TALK = TURN.format(0, 12, "anna") + TURN.format(12, 28, "ben")
FORMS = {
    "mark": lambda text: text.encode("utf-8-sig"),
    "utf-16": lambda text: text.encode("utf-16"),
    "crlf": lambda text: text.replace("\n", "\r\n").encode(),
    "cr": lambda text: text.replace("\n", "\r").encode(),
    "mark in every file joined": lambda text: text.replace("SPEAKER", "\ufeffSPEAKER").encode(),
}


def write(tmp_path: Path, content: str | bytes) -> Path:
    path = tmp_path / "manifest.tsv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_values_stand_as_they_are(tmp_path: Path) -> None:
    manifest = read_manifest(write(tmp_path, GOOD))
    first, second = manifest.rows
    assert manifest.columns == ("path", "seconds", "speaker", "word")
    assert (first.id, first.seconds, first.source) == ("a.wav", 1.5, "manifest.tsv:2")
    assert (second.id, second.seconds, second.source) == ("b/c.wav", None, "manifest.tsv:3")
    assert second.values["word"] == 'no "quoted"'
    assert second.audio_path(Path("/root")) == Path("/root/b/c.wav")


@pytest.mark.parametrize("content", [GOOD.replace("\n", "\r\n"), "\ufeff" + GOOD, GOOD + "\n\n", GOOD.rstrip("\n")])
def test_line_ends_byte_order_mark_and_blank_lines_do_not_matter(content: str, tmp_path: Path) -> None:
    plain = [row.values for row in read_manifest(write(tmp_path, GOOD)).rows]
    assert [row.values for row in read_manifest(write(tmp_path, content)).rows] == plain


def test_an_id_column_is_the_id(tmp_path: Path) -> None:
    manifest = read_manifest(write(tmp_path, "id\tpath\nx\ta.wav\ny\ta.wav\n"))
    assert [row.id for row in manifest.rows] == ["x", "y"]


@pytest.mark.parametrize(
    ("content", "where", "expected"),
    [
        ("", ":1", "no header"),
        (
            "path,word\na.wav,yes\n",
            ":1",
            "no column 'path' in the header. Separate the columns by tabs. Found: path,word.",
        ),
        ("paht\tword\na.wav\tyes\n", ":1", "no column 'path' in the header. Did you mean 'paht'? Found: paht, word."),
        ("path\tword\tword\n", ":1", "the header names 'word' twice"),
        ("path\tword\n", "", "has a header but no utterances"),
        ("path\tword\na.wav\tyes\nb.wav\n", ":3", "1 value, but the header names 2 columns (path, word)"),
        ("path\tword\na.wav\tyes\tno\n", ":2", "3 values, but the header names 2 columns"),
        ("path\tword\n\tyes\n", ":2", "the path is empty"),
        ("path\n../secret.wav\n", ":2", "the path '../secret.wav' leaves the audio root"),
        ("path\na/../../b.wav\n", ":2", "the path 'a/../../b.wav' leaves the audio root"),
        ("path\n/etc/passwd\n", ":2", "the path '/etc/passwd' leaves the audio root"),
        ("path\tseconds\na.wav\tlong\n", ":2", "seconds is 'long'; expected a positive number"),
        ("path\tseconds\na.wav\t-1\n", ":2", "seconds is '-1'; expected a positive number"),
        ("path\tseconds\na.wav\tnan\n", ":2", "seconds is 'nan'; expected a positive number"),
        ("path\na.wav\nb.wav\na.wav\n", ":4", "the id 'a.wav' occurs already at manifest.tsv:2"),
        (b"path\tword\na.wav\tyes\nb.wav\t\xff\n", ":3", "not UTF-8 (byte 26). Save the file as UTF-8"),
    ],
)
def test_a_fault_is_named_with_its_line(content: str | bytes, where: str, expected: str, tmp_path: Path) -> None:
    path = write(tmp_path, content)
    with pytest.raises(ManifestError) as raised:
        read_manifest(path)
    assert str(raised.value).startswith(f"{path}{where}: ")
    assert expected in str(raised.value)


def test_a_missing_manifest_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"no such manifest\. Expected a tab-separated file"):
        read_manifest(tmp_path / "manifest.tsv")


def test_a_missing_column_suggests_the_nearest(tmp_path: Path) -> None:
    manifest = read_manifest(write(tmp_path, GOOD))
    with pytest.raises(ManifestError) as raised:
        manifest.require(["path", "speakr"], purpose="speaker")
    assert str(raised.value) == (
        f"{manifest.path}: no column 'speakr' (speaker). Did you mean 'speaker'? "
        "Its columns are: path, seconds, speaker, word."
    )


@settings(deadline=None)
@given(st.lists(st.sampled_from(["a", "b", "..", ".", "c.wav"]), min_size=1, max_size=6))
def test_a_path_escapes_exactly_when_some_prefix_of_it_does(parts: list[str]) -> None:
    depths = [0]
    for part in PurePosixPath("/".join(parts)).parts:
        depths.append(depths[-1] + (-1 if part == ".." else 1))
    assert escapes("/".join(parts)) == (min(depths) < 0)


@pytest.mark.parametrize("form", FORMS)
def test_every_turn_counts_in_any_form(form: str, tmp_path: Path) -> None:
    path = tmp_path / "talk.rttm"
    path.write_bytes(FORMS[form](TALK))
    turns = read_rttm(path, seconds=40.0)
    frames = [(int(t.speaker == "ben"), round(t.start_seconds * 100), round(t.end_seconds * 100)) for t in turns]
    reference = activity(frames, n_frames=4000)
    errors = diarization_errors(reference=reference, found=np.zeros_like(reference))
    assert errors.rate.denominator == 4000


@pytest.mark.parametrize("form", ["mark", "utf-16", "crlf", "cr"])
def test_other_lists_in_any_form(form: str, tmp_path: Path) -> None:
    path = tmp_path / "list"

    def write(text: str) -> Path:
        path.write_bytes(FORMS[form](text))
        return path

    assert len(read_trials(write("1 a b\n0 a c\n"), {"a": "a", "b": "b", "c": "c"})) == 2
    assert read_lexicon([str(write("A AH0\nTHE DH AH0\n"))]) == {"A": "AH0", "THE": "DH AH0"}
    assert list(pairs_of(write("m1 a.wav\nm2\tb.wav\n"), expected="it")) == ["m1", "m2"]
    assert [row.id for row in read_manifest(write("path\tword\na.wav\tyes\nb.wav\tno\n")).rows] == ["a.wav", "b.wav"]
    assert list(read_suite(write('[tasks.ks]\nmanifest = "m"\ntarget = "t"\n')).tasks) == ["ks"]


def test_other_types_of_rttm_are_counted_and_unknown_ones_refused(tmp_path: Path) -> None:
    path = tmp_path / "talk.rttm"
    path.write_text("SPKR-INFO talk 1 <NA> <NA> <NA> unknown anna <NA>\n" + TALK + "LEXEME talk 1 0 1 hi lex anna\n")
    passed_over: Counter[str] = Counter()
    assert len(read_rttm(path, seconds=40.0, passed_over=passed_over)) == 2
    assert passed_over == {"SPKR-INFO": 1, "LEXEME": 1}
    for line, message in (
        ("speaker talk 1 0 1 <NA> <NA> anna\n", r"talk\.rttm:3: a line of type 'speaker'; expected SPEAKER"),
        (TURN.format(0, 1, "Anna Bell Lee"), r"talk\.rttm:3: 12 fields; a SPEAKER line has at most 10"),
        (TURN.format("1_0", 1, "anna"), r"talk\.rttm:3: start '1_0'"),
    ):
        path.write_text(TALK + line)
        with pytest.raises(ManifestError, match=message):
            read_rttm(path, seconds=40.0)
    path.write_bytes(TALK.replace("ben", "J\xe9r\xf4me").encode("latin-1"))
    with pytest.raises(ManifestError, match=r"talk\.rttm:2: not UTF-8 \(byte 77\)\. Save the file as UTF-8"):
        read_rttm(path, seconds=40.0)


def test_a_pair_of_two_answers_and_a_name_of_two_values_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_text("1 a b\n0 a b\n")
    with pytest.raises(ManifestError, match=r"list:2: says 0 of a pair of which line 1 says 1"):
        read_trials(path, {"a": "a", "b": "b"})
    path.write_text("m1 a.wav\n\nm1 b.wav\n")
    with pytest.raises(DataError, match=r"list:3: 'm1' stands already on line 1, with another value"):
        pairs_of(path, expected="a name and a value")
    path.write_text("A AH0\n\nTHE\n")
    with pytest.raises(DataError, match=r"list:3: 'THE' has no pronunciation"):
        read_lexicon([str(path)])


def diarized(root: Path, *, turns: str = "{}.rttm", options: str = "") -> None:
    """Three recordings with references in the folder ``talks``."""
    (root / "talks").mkdir(parents=True)
    lines = ["path\tsplit\tturns\n"]
    for name in ("train", "dev", "test"):
        soundfile.write(root / "talks" / f"{name}.wav", np.full(16_000, 0.1), 16_000)
        (root / "talks" / f"{name}.rttm").write_text(
            "SPKR-INFO x 1 <NA> <NA> <NA> unknown s0 <NA>\n" + TURN.format(0, 0.5, "s0") + TURN.format(0.4, 0.5, "s1")
        )
        lines.append(f"{name}.wav\t{name}\t{turns.format(name)}\n")
    (root / "talks" / "manifest.tsv").write_text("".join(lines))
    (root / "suite.toml").write_text(
        f'[tasks.sd]\nmanifest = "talks/manifest.tsv"\ntarget = "turns"\ntarget_kind = "rttm"\n{options}'
    )


def test_lines_passed_over_are_in_the_notes(tmp_path: Path) -> None:
    diarized(tmp_path / "root", turns="../talks/{}.rttm")
    data = load_task_data("local", "sd", data_root=tmp_path / "root", cache_dir=tmp_path / "cache")
    assert "lines of RTTM files that are no turns were passed over: 3 SPKR-INFO" in data.notes


@pytest.mark.parametrize("turns", ["../../{}.rttm", "/tmp/{}.rttm", "a/../../../{}.rttm"])
def test_an_rttm_file_outside_the_data_root_is_not_read(turns: str, tmp_path: Path) -> None:
    diarized(tmp_path / "root", turns=turns)
    for name in ("train", "dev", "test"):
        (tmp_path / f"{name}.rttm").write_text(TURN.format(0, 0.5, "s0"))
    with pytest.raises(ManifestError, match=r"manifest\.tsv:2: the RTTM path .* leaves the data root"):
        load_task_data("local", "sd", data_root=tmp_path / "root", cache_dir=tmp_path / "cache")


@pytest.mark.parametrize("audio_root", ["..", "talks/../..", "/tmp"])
def test_an_audio_root_outside_the_data_root_is_refused(audio_root: str, tmp_path: Path) -> None:
    diarized(tmp_path / "root", options=f'audio_root = "{audio_root}"\n')
    with pytest.raises(SpecError, match=r"tasks\.sd\.audio_root: .* leaves the data root"):
        load_task_data("local", "sd", data_root=tmp_path / "root", cache_dir=tmp_path / "cache")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("min_seconds = nan", r"key 'tasks\.sd\.min_seconds': Input should be a finite number"),
        ("max_seconds = inf", r"key 'tasks\.sd\.max_seconds': Input should be a finite number"),
        ("mixtures = { train = 1000000000000, dev = 1, test = 1 }", r"mixtures\.train.*less than or equal to 1000000"),
        ("mixtures = { train = 1, dev = 1, test = 1, seed = -1 }", r"mixtures\.seed.*greater than or equal to 0"),
    ],
)  # fmt: skip
def test_numbers_of_a_suite_are_finite_and_bounded(options: str, message: str, tmp_path: Path) -> None:
    diarized(tmp_path / "root", options=options)
    with pytest.raises(SpecError, match=message):
        read_suite(tmp_path / "root" / "suite.toml")


def test_a_suite_too_deep_to_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "suite.toml"
    path.write_text("title = " + "[" * 100_000)
    with pytest.raises(SpecError, match=r"suite\.toml: cannot be read as TOML"):
        read_suite(path)


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
