"""A local suite from its suite.toml: what is read, what is refused, and with which words."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import soundfile
from small_suite import WriteAudio

from skill_bench.base.catalog import suites
from skill_bench.base.errors import AudioError, DataError, ManifestError, SpecError, UnknownName, UsageError
from skill_bench.corpora.audio.audio import load_utterance
from skill_bench.corpora.data import TaskData
from skill_bench.corpora.described.suite_toml import read_suite
from skill_bench.corpora.load import find_suite_file, load_task_data, packaged_layouts
from skill_bench.evaluation.task_files import load_task

SUITE = """
[tasks.ks]
manifest = "speech/manifest.tsv"
target = "word"
"""


@pytest.fixture
def root(tmp_path: Path, write_audio: WriteAudio) -> Path:
    lines = ["path\tseconds\tspeaker\tsplit\tsession\tword\ttext\tphones\n"]
    for number in range(24):
        split = "train" if number < 12 else "dev" if number < 18 else "test"
        word = "yes" if number % 2 else "no"
        write_audio(f"speech/{number:02d}.flac", seconds=0.1)
        lines.append(
            f"{number:02d}.flac\t0.1\ts{number % 3}\t{split}\tf{number % 3}\t{word}\tIt's,  {word}!\tY EH1 | S\n"
        )
    (tmp_path / "speech" / "manifest.tsv").write_text("".join(lines))
    (tmp_path / "suite.toml").write_text(SUITE)
    return tmp_path


def load(root: Path, task: str = "ks", **settings: object) -> TaskData:
    return load_task_data("local", task, data_root=root, cache_dir=root / "cache", **settings)  # type: ignore[arg-type]


def edit(root: Path, content: str) -> None:
    (root / "suite.toml").write_text(content)


def test_splits_labels_and_sources(root: Path) -> None:
    data = load(root)
    (fold,) = data.folds
    assert {name: len(part) for name, part in fold.splits()} == {"train": 12, "dev": 6, "test": 6}
    first = fold.train[0]
    assert (first.id, first.target, first.speaker, first.seconds) == ("00.flac", "no", "s0", 0.1)
    assert first.source == "manifest.tsv:2"
    assert first.path == root / "speech" / "00.flac"
    assert not data.synthetic
    assert data.notes == ()
    assert len(data.fingerprint) == 64


def test_a_limit_is_noted_and_changes_the_fingerprint(root: Path) -> None:
    data = load(root, limit=4)
    assert {name: len(part) for name, part in data.folds[0].splits()} == {"train": 4, "dev": 4, "test": 4}
    assert Counter(u.target for u in data.folds[0].test) == {"yes": 2, "no": 2}
    assert data.notes == ("limited to 4 utterances in each of train, dev and test",)
    assert data.fingerprint != load(root).fingerprint


def test_folds_leave_one_value_out(root: Path) -> None:
    edit(root, SUITE + 'folds = { column = "session", dev_fraction = 0.25, seed = 3 }')
    folds = load(root).folds
    assert [fold.name for fold in folds] == ["f0", "f1", "f2"]
    for fold in folds:
        assert {name: len(part) for name, part in fold.splits()} == {"train": 12, "dev": 4, "test": 8}


def test_phones_lose_stress_and_separators(root: Path) -> None:
    edit(
        root,
        SUITE.replace("word", "phones") + 'target_kind = "phones"\nphones = { drop = ["|"], strip_stress = true }',
    )
    assert {u.target for u in load(root).utterances()} == {"Y EH S"}


def test_text_is_upper_case_with_single_blanks(root: Path) -> None:
    edit(root, SUITE.replace("word", "text") + 'target_kind = "text"\ntext = { remove = ",!" }')
    assert {u.target for u in load(root).utterances()} == {"IT'S YES", "IT'S NO"}


def test_several_labels_are_joined_and_an_empty_one_has_a_name(root: Path) -> None:
    manifest = root / "speech" / "manifest.tsv"
    manifest.write_text(manifest.read_text().replace("\tno\t", "\t\t"))
    edit(root, SUITE.replace('"word"', '["session", "word"]') + 'target_kind = "labels"')
    assert {u.target for u in load(root).utterances()} == {f"f{n}|{word}" for n in range(3) for word in ("yes", "none")}
    assert Counter(u.target for u in load(root, limit=6).folds[0].train).most_common(1)[0][1] == 1


def test_slots_of_columns_hold_their_values_alone(root: Path) -> None:
    edit(root, SUITE.replace('"word"', '["word", "session"]') + 'target_kind = "slots"')
    data = load(root)
    assert data.folds[0].train[0].target == "B-word NO E-word B-session F0 E-session"
    assert data.notes == ("no transcripts: targets are the slots' values alone, in the order word, session",)


@pytest.mark.parametrize(
    ("column", "addition", "message"),
    [
        ("text", 'target_kind = "text"\ntext = { characters = "ITSNOYE\' " }',
         r"manifest\.tsv:2: '!', ',' are in \"IT'S, NO!\", not in the characters of suite\.toml"),
        ("phones", 'target_kind = "phones"\nphones = { drop = ["|"], inventory = ["Y", "S"] }',
         r"manifest\.tsv:2: 'EH1' is not in the phone inventory of suite\.toml \(Y S\)"),
        ("speaker", "trials = { match = 'sex' }", r"no column 'sex' \(trials\.match\)"),
        ("word", "disjoint_speakers = true", r"'s0', 's1', 's2' heard in train and in dev, which must share"),
        ("speaker", "trials = {}", r"'s0', 's1', 's2' heard in train and in dev"),
        ("word", "target_kind = 'rttm'", r"no such RTTM file"),
    ],
)  # fmt: skip
def test_what_a_line_must_not_hold_is_said_with_its_place(column: str, addition: str, message: str, root: Path) -> None:
    edit(root, SUITE.replace('"word"', f'"{column}"') + addition)
    with pytest.raises(DataError, match=message):
        load(root)


def test_trials_are_drawn_over_dev_and_test(root: Path) -> None:
    edit(root, SUITE.replace('"word"', '"speaker"') + "trials = { seed = 1 }\ndisjoint_speakers = false")
    (fold,) = load(root).folds
    speaker = {u.id: u.target for u in (*fold.dev, *fold.test)}
    for part, trials in ((fold.dev, fold.dev_trials), (fold.test, fold.trials)):
        assert {trial.same for trial in trials} == {True, False}
        pairs = [frozenset((trial.enrolment, trial.test)) for trial in trials]
        assert len(set(pairs)) == len(pairs)
        assert all(len(pair) == 2 and pair <= {u.id for u in part} for pair in pairs)
        assert all(trial.same == (speaker[trial.enrolment] == speaker[trial.test]) for trial in trials)
    (small,) = load(root, limit=4).folds
    assert len(small.test) <= 4
    assert {trial.same for trial in small.trials} == {True, False}
    assert load(root).fingerprint != load(root, limit=4).fingerprint


def test_keep_and_durations_choose_lines(root: Path) -> None:
    edit(root, SUITE + 'keep = { session = ["f0", "f1"] }\nspeaker = "session"')
    data = load(root)
    assert {u.speaker for u in data.utterances()} == {"f0", "f1"}
    assert len(data.utterances()) == 16


def test_the_audio_root_may_be_elsewhere(root: Path) -> None:
    (root / "speech" / "manifest.tsv").rename(root / "list.tsv")
    edit(root, SUITE.replace("speech/manifest.tsv", "list.tsv") + 'audio_root = "speech"')
    assert load(root).folds[0].train[0].path == root / "speech" / "00.flac"


def test_silence_is_cut_from_disjoint_stretches_of_noise(root: Path, write_audio: WriteAudio) -> None:
    write_audio("noise.wav", seconds=5)
    edit(root, SUITE + 'silence = { noise = ["noise.wav"], seconds = 0.5, train = 20, dev = 3 }')
    data = load(root)
    spans: dict[str, tuple[int, int]] = {}
    for name, part in data.folds[0].splits():
        crops = [u for u in part if u.target == "_silence_"]
        assert len(crops) == {"train": 20, "dev": 3, "test": 3}[name]  # test: the mean of the other labels
        assert {u.n_frames for u in crops} == {8000}
        starts = [u.start_frame or 0 for u in crops]
        assert len(set(starts)) == len(starts)
        spans[name] = min(starts), max(starts) + 8000
        expected, _ = soundfile.read(root / "noise.wav", dtype="float32")
        wave = load_utterance(crops[-1]).waveform.numpy()
        assert (wave == expected[starts[-1] : starts[-1] + 8000]).all()
    assert spans == {"train": (0, 48_000), "dev": (48_000, 64_000), "test": (64_000, 80_000)}


def test_conversion_is_noted(root: Path, write_audio: WriteAudio) -> None:
    write_audio("speech/00.flac", seconds=0.1, rate_hz=8000, channels=2)
    assert load(root).notes == (
        "1 of 24 files was resampled to 16000 Hz",
        "the channels of 1 of 24 files were averaged",
    )


def test_broken_audio_is_found_before_anything_runs(root: Path) -> None:
    (root / "speech" / "03.flac").unlink()
    (root / "speech" / "20.flac").write_bytes(b"")
    with pytest.raises(AudioError) as raised:
        load(root)
    assert "2 of 24 audio files cannot be used" in str(raised.value)
    assert "03.flac (manifest.tsv:5): no such file" in str(raised.value)
    assert "20.flac (manifest.tsv:22): the file is empty" in str(raised.value)


@pytest.mark.parametrize(
    ("suite", "expected"),
    [
        ("[tasks.ks]\nmanifest = 'm'\ntraget = 'word'\n", "unknown key 'tasks.ks.traget'. Did you mean 'target'?"),
        (SUITE + "split = { colum = 'x' }", "unknown key 'tasks.ks.split.colum'. Did you mean 'column'?"),
        (SUITE + "[recognize]\nfiles = ['x']", "unknown key 'recognize'. Did you mean 'recognise'?"),
        ("[tasks.ks]\nmanifest = 'm'\n", "key 'tasks.ks.target': Field required."),
        ("title = 'x'\n", "key 'tasks': Field required."),
        ("[tasks]\n", "key 'tasks': Dictionary should have at least 1 item"),
        (SUITE + "target_kind = 'sound'", "key 'tasks.ks.target_kind': Input should be 'label', 'labels', "),
        (SUITE + "folds = { column = 'f', dev_fraction = 1.5 }", "'tasks.ks.folds.dev_fraction': Input should be less"),
        (SUITE + "split = { test = ['train'] }", "'tasks.ks.split': Value error, train, dev and test share"),
        (SUITE + "split = {}\nfolds = { column = 'f' }", "split and folds exclude each other"),
        (SUITE + "silence = { noise = [] }", "key 'tasks.ks.silence.noise': List should have at least 1 item"),
        ("[tasks.ks\n", "cannot be read as TOML"),
    ],
)  # fmt: skip
def test_a_fault_in_the_suite_file_names_file_and_key(suite: str, expected: str, root: Path) -> None:
    edit(root, suite)
    with pytest.raises(SpecError) as raised:
        load(root)
    assert str(raised.value).startswith(f"{root / 'suite.toml'}: ")
    assert expected in str(raised.value)
    assert raised.value.exit_code == 2


@pytest.mark.parametrize("key", ["manifest = '../speech/manifest.tsv'", "manifest = '/speech/manifest.tsv'"])
def test_the_suite_file_cannot_point_outside_the_data_root(key: str, root: Path) -> None:
    edit(root, f"[tasks.ks]\n{key}\ntarget = 'word'\n")
    with pytest.raises(SpecError, match=r"tasks\.ks\.manifest: .* leaves the data root"):
        load(root)


@pytest.mark.parametrize(
    ("addition", "expected"),
    [
        (
            "split = { column = 'splitt' }",
            "no column 'splitt' (split.column). Did you mean 'split'? Its columns are: path, ",
        ),
        (
            "split = { dev = ['valid'] }",
            "no utterance for dev: column 'split' never holds 'valid'. It holds: dev (6), test (6), train (12).",
        ),
        ("keep = { sesion = ['f0'] }", "no column 'sesion' (keep). Did you mean 'session'?"),
        ("keep = { session = ['f9'] }", "no line meets keep = {'session': ['f9']}"),
        ("min_seconds = 3.0", "no line meets keep = {} and the durations asked for"),
        ("speaker = 'speakers'", "no column 'speakers' (speaker). Did you mean 'speaker'?"),
        ("folds = { column = 'phones' }", "column 'phones' has one value; folds need at least two"),
    ],
)
def test_a_suite_that_does_not_fit_its_manifest(addition: str, expected: str, root: Path) -> None:
    edit(root, SUITE + addition)
    with pytest.raises(ManifestError) as raised:
        load(root)
    assert str(raised.value).startswith(f"{root / 'speech' / 'manifest.tsv'}: ")
    assert expected in str(raised.value)


def test_an_empty_label_is_named_with_its_line(root: Path) -> None:
    manifest = root / "speech" / "manifest.tsv"
    manifest.write_text(manifest.read_text().replace("\tno\t", "\t \t", 1))
    with pytest.raises(ManifestError, match=r"manifest\.tsv:2: the target column 'word' is empty"):
        load(root)


def test_silence_needs_enough_noise(root: Path, write_audio: WriteAudio) -> None:
    edit(root, SUITE + 'silence = { noise = ["noise.wav"] }')
    with pytest.raises(AudioError, match=r"noise\.wav .*suite\.toml: tasks\.ks\): no such file"):
        load(root)
    write_audio("noise.wav", seconds=4)
    with pytest.raises(ManifestError, match=r"4\.0 s of noise; its share for dev is shorter than one crop of 1\.0 s"):
        load(root)


def test_wrong_names_and_options(root: Path) -> None:
    with pytest.raises(
        UnknownName, match=r"unknown suite 'locl'\. Did you mean 'local'\? Known: demo, dspspeech20, local"
    ):
        load_task_data("locl", "ks", data_root=root, cache_dir=root)
    with pytest.raises(UnknownName, match=r"unknown task of .*suite\.toml 'kss'\. Did you mean 'ks'\?"):
        load(root, "kss")
    with pytest.raises(UsageError, match="limit is 0; expected at least 1"):
        load(root, limit=0)
    with pytest.raises(UsageError, match="--suite local needs --data-root DIR"):
        load_task_data("local", "ks", data_root=None, cache_dir=root)
    with pytest.raises(UsageError, match="the demo suite makes its own data"):
        load_task_data("demo", "ks", data_root=root, cache_dir=root)
    with pytest.raises(UsageError, match="nowhere is not a folder"):
        load(root / "nowhere")


def test_a_folder_without_suite_file_says_what_to_write(root: Path) -> None:
    (root / "suite.toml").unlink()
    with pytest.raises(UsageError) as raised:
        load(root)
    message = str(raised.value)
    assert f"{root} has no suite.toml, and its files are of no known layout. Write {root / 'suite.toml'}" in message
    assert "--suite-file" in message
    assert 'manifest = "commands/manifest.tsv"' in message


def test_a_suite_file_may_lie_elsewhere(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("suites") / "mine.toml"
    (root / "suite.toml").rename(elsewhere)
    assert len(load(root, suite_file=elsewhere).utterances()) == 24
    with pytest.raises(UsageError, match=r"--suite-file .*missing\.toml: no such file"):
        load(root, suite_file=root / "missing.toml")


def test_packaged_layouts_are_valid_and_recognised_by_their_files(tmp_path: Path) -> None:
    layouts = packaged_layouts()
    assert layouts
    for path, spec in layouts:
        assert spec.recognise is not None
        for name in spec.recognise.files:
            (tmp_path / path.stem / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path.stem / name).touch()
        found, notes = find_suite_file(tmp_path / path.stem)
        assert found == path
        assert notes == (f"recognised as {spec.title!r} (packaged layout {path.name})",)


def test_packaged_layouts_say_where_each_corpus_comes_from(tmp_path: Path) -> None:
    for _, spec in packaged_layouts():
        tasks = spec.tasks.values()
        read = {task.manifest for task in tasks} | {task.recordings.manifest for task in tasks if task.recordings}
        assert {name.split("/")[0] for name in read} == set(spec.sources)
        assert len(spec.to_get(tmp_path)) == len(spec.sources)


def test_only_what_is_not_there_is_to_get(tmp_path: Path) -> None:
    (spec,) = (spec for path, spec in packaged_layouts() if path.stem == "open-subsets")
    for name in (*spec.recognise.files, "speech_to_intent/any.flac") if spec.recognise else ():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert [line.split(":")[0] for line in spec.to_get(tmp_path)] == ["diarization_real"]
    (tmp_path / "emodb" / "manifest.tsv").unlink()
    assert [line.split(":")[0] for line in spec.to_get(tmp_path)] == ["emodb", "diarization_real"]


def test_a_packaged_layout_is_a_suite_of_its_name(tmp_path: Path) -> None:
    assert {"demo", "local", "superb", "mini", "dspspeech20"} < set(suites())
    with pytest.raises(UsageError, match=r"lacks dspspeech20/manifest\.tsv, which --suite dspspeech20 reads"):
        load_task_data("dspspeech20", "ks", data_root=tmp_path, cache_dir=tmp_path)
    with pytest.raises(UsageError, match="--suite dspspeech20 needs --data-root DIR, the folder with the corpora that"):
        load_task_data("dspspeech20", "ks", cache_dir=tmp_path)
    with pytest.raises(UsageError, match=r"the sources:\n  dspspeech20: github\.com/zhongyuchen/DSPSpeech-20 at "):
        load_task_data("dspspeech20", "ks", data_root=tmp_path, cache_dir=tmp_path)
    own = tmp_path / "suite.toml"
    with pytest.raises(UsageError, match=r"has a suite\.toml of its own\. --suite-file is for --suite local"):
        load_task_data("dspspeech20", "ks", data_root=tmp_path, suite_file=own, cache_dir=tmp_path)
    ks = load_task("ks")
    assert ks.for_suite("dspspeech20") == ks.for_suite("local") != ks.for_suite("superb")


def test_the_example_in_the_documentation_is_valid(tmp_path: Path) -> None:
    from skill_bench.corpora.described import suite_toml as spec

    example = (spec.__doc__ or "").split("::\n", 1)[1]
    (tmp_path / "suite.toml").write_text("\n".join(line.removeprefix("    ") for line in example.splitlines()))
    assert set(read_suite(tmp_path / "suite.toml").tasks) == {
        "ks", "er", "pr", "asr", "ic", "sf", "asv", "sd", "qbe", "sid"
    }  # fmt: skip


def test_choosing_data_loads_no_torch() -> None:
    modules = [f"skill_bench.corpora.{name}" for name in ("synthetic.demo", "synthetic.varied", "load")]
    code = f"import sys, {', '.join(modules)}; "
    done = subprocess.run(
        [sys.executable, "-c", code + "sys.exit('torch' in sys.modules)"], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
