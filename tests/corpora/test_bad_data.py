"""What is wrong with chosen data is said before anything runs: what was found, where, and what to do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from skill_bench.base.errors import DataError, ManifestError
from skill_bench.corpora.data import Fold, Segment, Trial, Utterance
from skill_bench.corpora.described.lists import read_rttm, read_trials
from skill_bench.corpora.described.targets import check_slots
from skill_bench.corpora.described.validate import validate


def said(id: str, **fields: object) -> Utterance:
    given = {"target": "a", "speaker": id[0], "seconds": 1.0, "source": f"m.tsv:{id}", **fields}
    return Utterance(id=id, path=Path(f"{id}.wav"), **given)  # type: ignore[arg-type]


def turn(start: float, end: float) -> Segment:
    return Segment(speaker="x", start_seconds=start, end_seconds=end)


@pytest.fixture
def fold() -> Fold:
    return Fold(
        name="all",
        train=(said("a1"), said("b1")),
        dev=(said("c1"), said("d1")),
        test=(said("e1"), said("e2"), said("f1")),
        trials=(Trial(same=True, enrolment="e1", test="e2"), Trial(same=False, enrolment="e1", test="f1")),
    )


def test_sound_data_passes(fold: Fold) -> None:
    validate([fold], where="here", disjoint_speakers=True)


Change = Callable[[Fold], Fold]
FAULTS: dict[str, tuple[Change, str]] = {
    "an id in two parts": (
        lambda fold: replace(fold, dev=(*fold.dev, said("a1", source="m.tsv:9"))),
        r"here: the id 'a1' \(m\.tsv:9\) in dev occurs already in train \(m\.tsv:a1\)",
    ),
    "an id twice in one part": (
        lambda fold: replace(fold, train=(*fold.train, said("a1"))),
        r"'a1' .* in train occurs already in train",
    ),
    "a shared speaker": (
        lambda fold: replace(fold, train=(*fold.train, said("e9"))),
        r"here: 'e' heard in train and in test, which must share no speaker\. Split by speaker",
    ),
    "a cut without length": (
        lambda fold: replace(fold, train=(said("a1", start_frame=5, n_frames=0),)),
        r"'a1' \(m\.tsv:a1\) is cut to 0 frames; a segment needs a length",
    ),
    "an utterance without length": (
        lambda fold: replace(fold, train=(said("a1", seconds=0.01),)),
        r"'a1' .* has 0\.01 s; at least 0\.025 s",
    ),
    "a turn without length": (
        lambda fold: replace(fold, trials=(), test=(said("e1", segments=(turn(1, 1),)),)),
        r"'e1' .*: a turn of 'x' from 1 to 1 s has no length",
    ),
    "a turn beyond the audio": (
        lambda fold: replace(fold, trials=(), test=(said("e1", segments=(turn(0, 2),)),)),
        r"a turn of 'x' ends at 2\.00 s, but the audio has 1\.00 s",
    ),
    "a trial of an absent utterance": (
        lambda fold: replace(fold, trials=(*fold.trials, Trial(same=True, enrolment="e1", test="zz"))),
        r"here: trials of test name 'zz' which test does not hold",
    ),
    "trials of one kind": (
        lambda fold: replace(fold, trials=fold.trials[:1]),
        "all trials of test are of same speakers; an error rate needs both kinds",
    ),
    "a document with a strange query": (
        lambda fold: replace(fold, trials=(), test=(said("e1", target="q7"),), queries=(said("q1"),)),
        "documents of test hold 'q7' among no queries of test",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named(fault: str, fold: Fold) -> None:
    change, message = FAULTS[fault]
    with pytest.raises(DataError, match=message):
        validate([change(fold)], where="here", disjoint_speakers=True)


def test_speakers_may_be_shared_where_they_are_the_classes(fold: Fold) -> None:
    change, _ = FAULTS["a shared speaker"]
    validate([change(fold)], where="here", disjoint_speakers=False)


def test_dev_and_test_may_search_the_same_documents(fold: Fold) -> None:
    document = said("e1", target="q1")
    shared = replace(fold, train=(), dev=(replace(document, target="p1"),), test=(document,), trials=(),
                     dev_queries=(said("p1"),), queries=(said("q1"),))  # fmt: skip
    validate([shared], where="here", disjoint_speakers=False)


RTTM = "SPEAKER talk 1 {} {} <NA> <NA> anna <NA> <NA>\n"


def test_turns_are_read_in_order(tmp_path: Path) -> None:
    path = tmp_path / "talk.rttm"
    path.write_text(RTTM.format(2.0, 1.02) + ";; a comment\n" + RTTM.format(0, 1.5).replace("anna", "ben"))
    turns = read_rttm(path, seconds=3.0)
    assert turns == (
        Segment(speaker="ben", start_seconds=0.0, end_seconds=1.5),
        Segment(speaker="anna", start_seconds=2.0, end_seconds=3.0),
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (RTTM.format(1, 0), r"talk\.rttm:1: a turn of 0 s"),
        (RTTM.format(1, -1), r"talk\.rttm:1: a turn of -1 s"),
        (RTTM.format(2, 1.2), r"the turn ends at 3\.20 s, but the audio has 3\.00 s"),
        (RTTM.format("x", 1), r"start 'x', duration '1'; expected seconds"),
        (RTTM.format("nan", 1), "expected seconds"),
        (RTTM.format(-1, 1), "expected seconds"),
        ("SPEAKER talk 1 0 1\n", "5 fields; a SPEAKER line has at least 8"),
        ("", "no SPEAKER line"),
        (RTTM.format(0, 1) + RTTM.format(0, 1).replace("talk", "other"), r"holds 2 recordings \(other, talk\)"),
    ],
)
def test_a_faulty_reference_names_file_and_line(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "talk.rttm"
    path.write_text(content)
    with pytest.raises(ManifestError, match=message):
        read_rttm(path, seconds=3.0)
    with pytest.raises(ManifestError, match="no such RTTM file"):
        read_rttm(tmp_path / "absent.rttm", seconds=3.0)


def test_a_trial_list_that_names_absent_files_counts_them(tmp_path: Path) -> None:
    path = tmp_path / "trials.txt"
    path.write_text("1 a.wav b.wav\n0 a.wav c.wav\n")
    ids = {"a.wav": "a", "b.wav": "b", "c.wav": "c"}
    assert read_trials(path, ids) == (
        Trial(same=True, enrolment="a", test="b"), Trial(same=False, enrolment="a", test="c"),
    )  # fmt: skip
    with pytest.raises(ManifestError, match=r"trials\.txt: 2 files are named that are not there: b\.wav \(line 1\), c"):
        read_trials(path, {"a.wav": "a"})
    path.write_text("same a.wav b.wav\n")
    with pytest.raises(ManifestError, match=r"trials\.txt:1: found 'same a\.wav b\.wav'; expected '1 first second'"):
        read_trials(path, ids)
    path.write_text("\n")
    with pytest.raises(ManifestError, match="holds no trial"):
        read_trials(path, ids)
    with pytest.raises(ManifestError, match="no such trial list"):
        read_trials(tmp_path / "absent.txt", ids)


def test_slot_tags_come_in_pairs_around_words() -> None:
    assert check_slots("PLAY  B-song LET IT BE E-song NOW", where="m:2") == "PLAY B-song LET IT BE E-song NOW"
    for target, message in (
        ("B-a X B-b Y E-b E-a", "m:2: 'B-b' before 'E-a'"),
        ("B-a X E-b", "m:2: 'E-b' closes 'B-a'"),
        ("X E-b", "'E-b' closes None"),
        ("B-a X", "'B-a' is never closed"),
        ("X B-a E-a", "the slot 'a' holds no word"),
    ):
        with pytest.raises(ManifestError, match=message):
            check_slots(target, where="m:2")
