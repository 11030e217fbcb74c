"""Lists with a byte order mark, in UTF-16, with other line ends: read as the plain ones; what does not fit is named."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from skill_bench.base.errors import DataError, ManifestError, SpecError
from skill_bench.corpora.described.lists import read_rttm, read_trials
from skill_bench.corpora.described.manifest import read_manifest
from skill_bench.corpora.described.suite_toml import read_suite
from skill_bench.corpora.load import load_task_data
from skill_bench.corpora.official.files import pairs_of
from skill_bench.metrics.diarization import activity, diarization_errors
from skill_bench.s3prl.ctc_corpora import read_lexicon

TURN = "SPEAKER talk 1 {} {} <NA> <NA> {} <NA> <NA>\n"
TALK = TURN.format(0, 12, "anna") + TURN.format(12, 28, "ben")
FORMS = {
    "mark": lambda text: text.encode("utf-8-sig"),
    "utf-16": lambda text: text.encode("utf-16"),
    "crlf": lambda text: text.replace("\n", "\r\n").encode(),
    "cr": lambda text: text.replace("\n", "\r").encode(),
    "mark in every file joined": lambda text: text.replace("SPEAKER", "\ufeffSPEAKER").encode(),
}


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
