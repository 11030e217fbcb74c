"""Readers of the official layouts, on miniatures made of real speech; the doctor; the mini suite."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import miniatures
import pytest
import soundfile
from typer.testing import CliRunner

from skill_bench.base import catalog
from skill_bench.base.errors import DataError, SkillBenchError, UnknownName, UsageError
from skill_bench.corpora.data import Fold, Segment
from skill_bench.corpora.load import load_task_data
from skill_bench.corpora.official import doctor
from skill_bench.corpora.official.doctor import examine, official_tasks
from skill_bench.corpora.official.readers.audio_snips import tagged
from skill_bench.corpora.official.suite import Sizes, mini_sizes, subset

TASKS = sorted(official_tasks())


@pytest.fixture(scope="module")
def data_root(corpora: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return miniatures.make_all(corpora, tmp_path_factory.mktemp("official"))


@pytest.fixture
def editable(data_root: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(data_root, tmp_path / "data"))


@pytest.fixture
def stated(monkeypatch: pytest.MonkeyPatch, data_root: Path) -> None:
    miniatures.pass_for_complete(monkeypatch, data_root)


def read(task: str, root: Path) -> tuple[Fold, ...]:
    official = official_tasks()[task]
    return official.read(root / official.corpus.folder)


def test_every_task_has_a_reader_counts_and_a_size() -> None:
    assert set(TASKS) == set(catalog.names("tasks")) == set(mini_sizes())
    for corpus in doctor.corpora().values():
        assert corpus.downloads
        assert all(download.url.startswith("http") for download in corpus.downloads)
        assert set(corpus.utterances) <= set(TASKS)


def test_the_reading_of_no_corpus_needs_torch() -> None:
    import subprocess
    import sys

    code = "import sys, skill_bench.corpora.official.doctor as c; c.official_tasks(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_librispeech_texts_and_phones(data_root: Path) -> None:
    (asr,), (pr,) = read("asr", data_root), read("pr", data_root)
    assert [len(part) for _, part in asr.splits()] == [3, 3, 3]
    first = next(u for u in asr.train if u.id == "1034-121119-0000")
    assert (first.target, first.speaker) == ("CHAPTER NINETY NINE THE LAW WE HAVE SEEN HOW QUIETLY", "1034")
    spelt = next(u for u in pr.train if u.id == "1034-121119-0000")
    assert "DH AH0" in spelt.target, "the first pronunciation counts, with stress"
    assert len(spelt.target.split()) > len(first.target.split())


def test_speech_commands_classes(data_root: Path) -> None:
    (fold,) = read("ks", data_root)
    assert {u.target for u in fold.train} == {u.target for u in fold.test}
    assert len({u.target for u in fold.test}) == 12
    assert not {u.speaker for u in fold.train if u.start_frame is None} & {
        u.speaker for u in fold.dev if u.start_frame is None
    }
    silence = [u for u in (*fold.train, *fold.dev) if u.target == "_silence_"]
    assert all(u.n_frames == 16_000 for u in silence)


def test_voxceleb_splits_and_trials(data_root: Path) -> None:
    (sid,), (asv,) = read("sid", data_root), read("asv", data_root)
    assert [len(part) for _, part in sid.splits()] == [120, 60, 60]
    assert len({u.target for u in sid.train}) == 60
    speakers = [{u.target for u in part} for _, part in asv.splits()]
    assert len(speakers[0]) + len(speakers[1]) == 54
    assert len(speakers[1]) >= 2
    assert len(asv.trials) == 20
    assert sum(trial.same for trial in asv.trials) == 10
    assert {trial.same for trial in asv.dev_trials} == {True, False}


def test_iemocap_sessions_and_emotions(data_root: Path) -> None:
    folds = read("er", data_root)
    assert [fold.name for fold in folds] == ["Session1", "Session2", "Session3", "Session4", "Session5"]
    for fold in folds:
        assert {u.target for u in fold.test} == {"angry", "happy", "neutral", "sad"}
        assert {u.id[:5] for u in fold.test} == {f"Ses0{fold.name[-1]}"}
        assert not {u.speaker for u in fold.test} & {u.speaker for u in (*fold.train, *fold.dev)}
    assert all("M999" not in u.id for fold in folds for u in fold.test), "frustration is not one of the four"


def test_fluent_commands_intents(data_root: Path) -> None:
    (fold,) = read("ic", data_root)
    assert [len(part) for _, part in fold.splits()] == [6, 6, 6]
    assert {u.target.split("|")[0] for u in fold.train} == {"orderDrink"}
    assert any(u.target.endswith("|none") for u in fold.train)


def test_audio_snips_slots_and_speakers(data_root: Path) -> None:
    (fold,) = read("sf", data_root)
    assert [len(part) for _, part in fold.splits()] == [3, 3, 3]
    assert {u.speaker for u in fold.test} == {"Brian", "Emma", "Raveena"}
    assert any(u.target.startswith("I 'D LIKE B-coffeeDrink ") for u in fold.test)
    assert all(u.target.endswith(" AND THANKS") for u in fold.test)


def test_slots_follow_runs_of_one_label() -> None:
    text = "BOS PLAY LET , IT BE & NOW ? EOS\tO O song O song song artist O O play_music"
    assert tagged(text, slots={"song", "artist"}, where="l:1") == (
        "PLAY B-song LET IT BE E-song B-artist AND E-artist NOW"
    )
    for wrong, message in (
        ("BOS PLAY EOS\tO O O play", r"l:1: 1 word, but 2 labels"),
        ("BOS PLAY EOS\tO genre play", r"the slot 'genre' is not in slots\.txt"),
        ("BOS PLÁY EOS\tO O play", r"'PLÁY' holds 'Á', not in s3prl's vocabulary"),
    ):
        with pytest.raises(DataError, match=message):
            tagged(wrong, slots={"song"}, where="l:1")


def test_quesst_documents_and_queries(data_root: Path) -> None:
    (fold,) = read("qbe", data_root)
    assert fold.train == ()
    assert [u.id for u in fold.dev] == [u.id for u in fold.test]
    held = {query for document in fold.test for query in document.target.split()}
    assert held <= {query.id for query in fold.queries}
    assert len(held) >= 4
    assert not held & {query for document in fold.dev for query in document.target.split()}


def test_libri2mix_turns(data_root: Path) -> None:
    (fold,) = read("sd", data_root)
    assert [len(part) for _, part in fold.splits()] == [3, 3, 3]
    first, second = fold.test[0].id.split("_")
    a, b = first.split("-")[0], second.split("-")[0]
    assert fold.test[0].segments == tuple(
        Segment(speaker=who, start_seconds=start, end_seconds=end)
        for who, start, end in ((a, 0.1, 1.1), (b, 0.5, 1.9), (a, 1.4, 2.0))
    )
    assert fold.test[0].seconds == 2.0


@pytest.mark.parametrize("task", TASKS)
def test_a_complete_corpus_passes_and_loads(task: str, stated: None, data_root: Path, tmp_path: Path) -> None:
    examination = examine(task, data_root)
    assert examination.problems == ()
    assert examination.hours is not None
    assert examination.text(data_root).startswith(f"{task}: {examination.corpus.title}: complete\n")
    whole = load_task_data("superb", task, data_root=data_root, cache_dir=tmp_path)
    mini = load_task_data("mini", task, data_root=data_root, cache_dir=tmp_path)
    assert (whole.suite, mini.suite, whole.synthetic) == ("superb", "mini", False)
    assert {u.id for u in mini.utterances()} <= {u.id for u in whole.utterances()}
    assert "official layout" in whole.notes[0]
    assert "the mini suite's part of it" in mini.notes[-1]
    few = load_task_data("superb", task, data_root=data_root, cache_dir=tmp_path, limit=4)
    assert all(len(part) <= 4 for fold in few.folds for _, part in fold.splits())


@pytest.mark.parametrize("task", TASKS)
def test_a_miniature_is_not_the_whole_and_nothing_starts(task: str, data_root: Path, tmp_path: Path) -> None:
    examination = examine(task, data_root)
    if not examination.corpus.utterances[task]:
        assert examination.problems == (), "no counts are published"
        return
    text = examination.text(data_root)
    assert "NOT COMPLETE" in text
    assert "expected" in text
    for download in examination.corpus.downloads:
        assert f"get {download.url}\n      into {data_root / download.into}" in text
    with pytest.raises(UsageError, match="the superb suite needs complete corpora"):
        load_task_data("superb", task, data_root=data_root, cache_dir=tmp_path)


@pytest.mark.parametrize("task", TASKS)
def test_an_empty_data_root_says_what_to_get(task: str, tmp_path: Path) -> None:
    examination = examine(task, tmp_path)
    assert examination.folds == ()
    assert "incomplete" in examination.problems[0]
    assert "get http" in examination.text(tmp_path)


FAULTS = [
    ("asr", "LibriSpeech/test-clean/*/*/*.trans.txt", "", "no transcript in"),
    ("pr", "LibriSpeech/lexicon/librispeech-lexicon-allothers-g2p.txt", "A AH0\n", "no pronunciation of"),
    ("ic", "fluent_speech_commands_dataset/data/test_data.csv", "path,speakerId\nx,y\n", "no column 'action'"),
    ("sid", "VoxCeleb1/iden_split.txt", "4 id1/v/1.wav\n", "iden_split.txt:1: found '4 id1/v/1.wav'; expected"),
    ("sid", "VoxCeleb1/iden_split.txt", "1 id1/v/1.wav\n", "1 of 1 files that it names are missing"),
    ("asv", "VoxCeleb1/voxceleb1_test_v2.txt", "1 id1/v/1.wav id1/v/2.wav\n", "2 files are named that are not there"),
    ("er", "IEMOCAP_full_release/Session3/dialog/EmoEvaluation/*.txt", "%\n", "no label of the four emotions"),
    ("qbe", "quesst14Database/scoring/language_key_eval.lst", "one two three\n", "expected 'path language'"),
    ("qbe", "quesst14Database/scoring/language_key_eval.lst", "q/a.wav czech\n", "names no file in 'nnenglish'"),
    ("sd", "Libri2Mix/diarization/test/utt2spk", "someone else\n", "expected 'turn recording start end'"),
]


@pytest.mark.parametrize(("task", "pattern", "content", "message"), FAULTS)
def test_a_fault_of_a_list_is_named(task: str, pattern: str, content: str, message: str, editable: Path) -> None:
    changed = list(editable.glob(pattern))
    assert changed
    for path in changed:
        path.write_text(content)
    assert message in " ".join(examine(task, editable).problems)


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [(0.5, 0.5, "has no length"), (0.5, 2.2, r"ends at 2.20 s, but .* has 2.00 s")],
)
def test_turns_of_libri2mix_are_checked(start: float, end: float, message: str, editable: Path) -> None:
    segments = editable / "Libri2Mix" / "diarization" / "dev" / "segments"
    lines = segments.read_text().splitlines()
    turn, recording = lines[0].split()[:2]
    segments.write_text("\n".join([f"{turn} {recording} {start} {end}", *lines[1:]]))
    with pytest.raises(DataError, match=rf"segments:1: .*{message}"):
        read("sd", editable)


def test_strange_characters_of_a_transcript_are_named(editable: Path) -> None:
    listing = next((editable / "LibriSpeech" / "dev-clean").rglob("*.trans.txt"))
    listing.write_text(listing.read_text().replace(" ", " É", 1))
    with pytest.raises(DataError, match=rf"{listing.name}:1: the transcript holds 'É'; expected A to Z"):
        read("asr", editable)


def test_missing_and_broken_audio_is_listed(editable: Path) -> None:
    recordings = sorted((editable / "fluent_speech_commands_dataset" / "wavs").rglob("*.wav"))
    recordings[0].unlink()
    assert "1 of 6 files that it names are missing" in examine("ic", editable).problems[0]
    first, second = sorted((editable / "LibriSpeech" / "dev-clean").rglob("*.flac"))[:2]
    first.write_bytes(b"")
    second.write_bytes(second.read_bytes()[:3000])
    problems = "\n".join(examine("asr", editable).problems)
    assert "2 of 9 audio files cannot be used" in problems
    assert f"{first} (" in problems


def test_hours_are_compared(data_root: Path) -> None:
    assert any("h of audio, expected 111.4 h" in problem for problem in examine("asr", data_root).problems)


def test_the_command_reports_every_task_and_fails(data_root: Path, tmp_path: Path) -> None:
    from skill_bench.cli.main import app

    done = CliRunner().invoke(app, ["doctor", "--data-root", str(data_root), "--tasks", "asr,qbe"])
    assert isinstance(done.exception, DataError)
    assert done.exception.exit_code == 1
    assert "asr: LibriSpeech" in done.output
    assert "train 3 of 28539" in done.output
    assert "qbe: QUESST 2014: complete" in done.output
    assert str(done.exception) == "not complete for asr; 1 task can run."
    for arguments, message in (
        (["--data-root", str(tmp_path / "none")], "is not a folder"),
        (["--data-root", str(tmp_path), "--suite", "demo"], "the suite demo synthesises its speech"),
        (["--data-root", str(tmp_path), "--suite", "dmo"], "unknown suite to check 'dmo'"),
        (
            ["--data-root", str(tmp_path), "--tasks", "asrr"],
            "unknown task of the superb suite 'asrr'. Did you mean 'asr'",
        ),
    ):
        failed = CliRunner().invoke(app, ["doctor", *arguments])
        assert isinstance(failed.exception, SkillBenchError)
        assert message in str(failed.exception)
        assert failed.exception.exit_code == 2


def test_the_command_passes_where_all_is_there(stated: None, data_root: Path) -> None:
    from skill_bench.cli.main import app

    done = CliRunner().invoke(app, ["doctor", "--data-root", str(data_root), "--tasks", "er,sd"])
    assert done.exception is None
    assert done.output.endswith("complete for er, sd.\n")


def test_a_data_root_is_needed(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--suite superb needs --data-root DIR.*none was given"):
        load_task_data("superb", "asr", cache_dir=tmp_path)
    with pytest.raises(UsageError, match="--suite-file is for --suite local"):
        load_task_data("mini", "asr", data_root=tmp_path, suite_file=tmp_path, cache_dir=tmp_path)
    with pytest.raises(UnknownName, match=r"unknown task of the superb suite 'asrr'\. Did you mean 'asr'"):
        load_task_data("superb", "asrr", data_root=tmp_path, cache_dir=tmp_path)


def test_a_subset_is_fixed_fair_and_closed(data_root: Path) -> None:
    folds = read("sid", data_root)
    sizes = Sizes(train=24, dev=8, test=12, labels=8, by_target=True)
    (part,) = subset(folds, sizes)
    (again,) = subset([Fold(name="all", train=folds[0].train[::-1], dev=folds[0].dev, test=folds[0].test[::-1])], sizes)
    assert {u.id for u in part.train} == {u.id for u in again.train}
    assert {u.id for u in part.test} == {u.id for u in again.test}
    assert len({u.target for u in part.train}) == 8
    assert {u.target for u in (*part.dev, *part.test)} <= {u.target for u in part.train}
    assert set(Counter(u.target for u in part.train).values()) == {2}
    emotions = subset(read("er", data_root), Sizes(train=0, dev=1, test=4, by_target=True))
    for fold in emotions:
        assert Counter(u.target for u in fold.test) == {"angry": 1, "happy": 1, "neutral": 1, "sad": 1}
        assert len(fold.train) + len(fold.dev) == 16


def test_audio_is_what_the_corpus_has(data_root: Path) -> None:
    for task in TASKS:
        utterance = read(task, data_root)[0].test[0]
        assert soundfile.info(utterance.path).samplerate == 16_000
