"""The guard end to end, on tones with a fake upstream."""

from __future__ import annotations

import shutil
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import made_samples
import pytest
from fake_speech import FakeUpstream, class_data
from torch import Tensor

from skill_bench.base import catalog
from skill_bench.base.errors import SkillBenchError, UsageError
from skill_bench.evaluation import evaluate as evaluate_module
from skill_bench.evaluation.plan import Plan, UpstreamRequest
from skill_bench.evaluation.task_files import load_task
from skill_bench.guard import rerun
from skill_bench.guard.baseline import Settings, read_baseline
from skill_bench.guard.findings import CheckReport, Finding, to_junit, to_markdown, write_report
from skill_bench.guard.judge import Rules
from skill_bench.guard.plugin import SkillCheck
from skill_bench.guard.rerun import RerunOptions, compare, update
from skill_bench.records.record import System, read_predictions
from skill_bench.records.store import pack
from skill_bench.report.table.collect import collect

pytest_plugins = ["pytester"]


class Evaluated(FakeUpstream):
    """``deaf``: its features say nothing, under the same identity, as after a bug in the code."""

    def __init__(self, *, deaf: bool = False) -> None:
        super().__init__()
        self.deaf = deaf

    def system(self) -> System:
        return System(name=self.name, title="Fake", kind="control", identity="fake-1", n_parameters=7)

    def hidden_states(self, waves: list[Tensor]) -> list[Tensor]:
        found = super().hidden_states(waves)
        return [0 * states for states in found] if self.deaf else found


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RerunOptions]:
    """Tones instead of speech, and a short training."""
    folder = tmp_path_factory.mktemp("tones")
    data = class_data(folder / "audio", n_each=12)

    def quick(name: str) -> Any:
        task = load_task(name)
        settings = {"steps": 20, "evaluate_every_steps": 20, "learning_rates": (0.1,)}
        return task.model_copy(update={"suites": {}, "protocol": task.protocol.model_copy(update=settings)})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluate_module, "load_task_data", lambda suite, task, **_: replace(data, task=task))
        patch.setattr(evaluate_module, "load_task", quick)
        yield RerunOptions(cache_dir=folder / "cache", load=lambda _: Evaluated(), timed=False)


SETTINGS = Settings(upstream="fake", suite="demo", tasks=("ks", "sid"), seeds=(0,))


@pytest.fixture(scope="module")
def made(place: RerunOptions, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "baseline"
    update(folder, SETTINGS, reason="first", place=place)
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A baseline of one's own."""
    return Path(shutil.copytree(made, tmp_path / "baseline"))


def test_the_same_model_passes(folder: Path, place: RerunOptions) -> None:
    report = compare(folder, place=place)
    assert report.passed
    assert [finding.name for finding in report.findings] == ["ks", "sid", "all tasks", "parameters", "MACs"]
    assert "the model is the baseline's own: only code and data can differ" in report.notes


def test_a_mean_is_over_the_tasks_that_count_by_what_comes_with_the_package(
    place: RerunOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shipped teacher has everything right, the controls nothing, but for log-mel on SID."""
    recorded = vars(evaluate_module)["load_task_data"]
    monkeypatch.setattr(
        evaluate_module, "load_task_data", lambda *a, **options: replace(recorded(*a, **options), synthetic=False)
    )
    folder, leaderboard = tmp_path / "baseline", tmp_path / "leaderboard"
    update(folder, SETTINGS, reason="first", place=place)
    found = catalog.folder
    monkeypatch.setattr(catalog, "folder", lambda kind: leaderboard if kind == "leaderboard" else found(kind))
    assert [finding.name for finding in compare(folder, place=place).findings][:3] == ["ks", "sid", "all tasks"]
    for name in ("teacher", "random", "logmel"):
        system = System(name=name, title=name, kind="teacher" if name == "teacher" else "other", identity=name)
        for entry in collect(folder).entries:
            assert entry.file is not None
            record = entry.record.model_copy(
                update={"system": system, "key": entry.record.key.model_copy(update={"upstream": name})}
            )
            right = name == "teacher" or (name, record.key.task) == ("logmel", "sid")
            rows = [
                {**row, "prediction": row["target"] if right else "?", "numerator": int(right)}
                for row in read_predictions(entry.file, entry.record)
            ]
            made_samples.saved(leaderboard / "results", record, rows)
    report = compare(folder, place=place)
    assert [finding.name for finding in report.findings] == ["ks", "sid", "parameters", "MACs"], "of one task no mean"
    (note,) = [note for note in report.notes if note.startswith("a mean leaves out sid. A task counts where")]
    assert note.endswith("leads: sid +inf before random, +0.0 before logmel.")


def test_a_bug_behind_the_same_identity_is_caught_and_no_cache_hides_it(folder: Path, place: RerunOptions) -> None:
    report = compare(folder, place=replace(place, load=lambda _: Evaluated(deaf=True)))
    assert {finding.name for finding in report.problems} >= {"all tasks"}
    assert list((place.cache_dir / "features").glob("*/*")) == [], "what was extracted for a check is removed"


def test_features_of_an_earlier_run_are_neither_used_nor_removed(
    folder: Path, place: RerunOptions, tmp_path: Path
) -> None:
    """The model as it was left them in the cache, under the identity that the model with a bug still has."""
    place = replace(place, cache_dir=tmp_path / "cache")
    plan = Plan(
        upstreams=[UpstreamRequest(name="fake")], suite="demo", tasks=SETTINGS.tasks, seeds=[0],
        out_dir=tmp_path / "results", cache_dir=place.cache_dir,
    )  # fmt: skip
    assert not evaluate_module.evaluate(plan, load=place.load).failures
    before = sorted((place.cache_dir / "features").rglob("*.safetensors"))
    assert before
    report = compare(folder, place=replace(place, load=lambda _: Evaluated(deaf=True)))
    assert {finding.name for finding in report.problems} >= {"all tasks"}
    assert sorted((place.cache_dir / "features").rglob("*.safetensors")) == before


def test_fewer_tasks_and_unknown_ones(folder: Path, place: RerunOptions) -> None:
    assert [f.name for f in compare(folder, place=place, tasks=("ks",)).findings] == ["ks", "parameters", "MACs"]
    with pytest.raises(UsageError, match="has no asr, only ks, sid"):
        compare(folder, place=place, tasks=("asr",))


def test_a_baseline_of_given_weights_is_not_checked_with_others_by_mistake(place: RerunOptions, tmp_path: Path) -> None:
    class Given(Evaluated):
        name = "fake-0123abcd"

    folder, ckpt = tmp_path / "baseline", tmp_path / "student.safetensors"
    given = replace(place, ckpt=ckpt, load=lambda _: Given())
    update(folder, SETTINGS.model_copy(update={"tasks": ("ks",)}), reason="first", place=given)
    assert compare(folder, place=given).passed
    with pytest.raises(UsageError, match="is of fake-0123abcd: fake with weights that --ckpt gave"):
        compare(folder, place=place)
    assert compare(folder, place=place, upstream="fake").passed, "as asked for"
    assert compare(folder, place=replace(place, ckpt=ckpt)).passed, "another checkpoint of the same upstream"


def test_a_failing_cell_fails_the_check(folder: Path, place: RerunOptions) -> None:
    class Broken(Evaluated):
        def hidden_states(self, waves: list[Tensor]) -> list[Tensor]:
            raise SkillBenchError("out of order")

    report = compare(folder, place=replace(place, load=lambda _: Broken()))
    assert not report.passed
    assert "ks failed: SkillBenchError: out of order" in report.findings[0].message


def test_an_update_keeps_the_history(folder: Path, place: RerunOptions) -> None:
    made = update(folder, SETTINGS.model_copy(update={"tasks": ("ks",)}), reason="one task is enough", place=place)
    assert [change.reason for change in made.history] == ["first"]
    assert read_baseline(folder).settings.tasks == ("ks",)
    assert not list(folder.rglob("sid*")), "records of the earlier one are gone"
    assert compare(folder, place=place).passed


def test_what_an_update_refuses(folder: Path, place: RerunOptions, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--update needs --reason"):
        update(folder, SETTINGS, reason=" ", place=place)
    other = tmp_path / "precious"
    other.mkdir()
    (other / "file").touch()
    with pytest.raises(UsageError, match=r"is not empty and holds no baseline\.json"):
        update(other, SETTINGS, reason="x", place=place)

    def broken(_: UpstreamRequest) -> Evaluated:
        class Broken(Evaluated):
            def hidden_states(self, waves: list[Tensor]) -> list[Tensor]:
                raise SkillBenchError("out of order")

        return Broken()

    before = sorted(path.name for path in folder.rglob("*"))
    with pytest.raises(SkillBenchError, match="no baseline was written, 2 cells failed"):
        update(folder, SETTINGS, reason="x", place=replace(place, load=broken))
    assert sorted(path.name for path in folder.rglob("*")) == before
    assert read_baseline(folder).reason == "first"


def test_a_packed_baseline_serves_as_its_folder_does(folder: Path, place: RerunOptions, tmp_path: Path) -> None:
    packed = tmp_path / "baseline.zip"
    pack(folder, packed)
    assert compare(packed, place=place).findings == compare(folder, place=place).findings
    with pytest.raises(UsageError, match=r"baseline\.zip is a file, and a new baseline is a folder"):
        update(packed, SETTINGS, reason="x", place=place)


def test_no_baseline_says_how_to_make_one(tmp_path: Path, place: RerunOptions) -> None:
    with pytest.raises(UsageError, match=r"holds no baseline\.json\. Make a baseline .* --update --reason"):
        compare(tmp_path, place=place)


REPORT = CheckReport(
    title="a|b on demo",
    rules=Rules().describe(),
    findings=(
        Finding(name="ks", status="passed", before="1", now="2", message="fine | dandy"),
        Finding(name="pr", status="failed", before="1", now="<2>", message="worse & more"),
        Finding(name="er", status="error", before="", now="", message="no data"),
    ),
    notes=("a note",),
)


def test_junit_can_be_read_by_ci() -> None:
    root = ElementTree.fromstring(to_junit(REPORT))
    (suite,) = root.findall("testsuite")
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("3", "1", "1")
    assert [case.get("name") for case in suite] == ["ks", "pr", "er"]
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert failure.get("message") == "worse & more"
    assert failure.text == "baseline 1, now <2>: worse & more"


def test_junit_holds_whatever_a_message_says() -> None:
    """No XML file may hold control characters, not even as references."""
    finding = Finding(name="k\0s", status="failed", before="\x1b[1m", now="\ud800", message="\x07 ]]> \ufffe")
    text = to_junit(replace(REPORT, findings=(finding,), title="a\x08"))
    text.encode()
    root = ElementTree.fromstring(text)
    failure = root.find("testsuite/testcase/failure")
    assert failure is not None
    assert failure.get("message") == "\ufffd ]]> \ufffd"
    assert failure.text == "baseline \ufffd[1m, now \ufffd: \ufffd ]]> \ufffd"


def test_markdown_of_a_message_is_no_markup() -> None:
    finding = Finding(name="ks", status="failed", before="", now="", message="<script> [x](y)\n| `z`")
    text = to_markdown(replace(REPORT, findings=(finding,), title="<b>"))
    assert r"&lt;script&gt; \[x\](y) \| \`z\`" in text
    assert "### &lt;b&gt;: " in text


def test_markdown_for_a_pull_request() -> None:
    lines = to_markdown(REPORT).splitlines()
    assert lines[0] == "### a|b on demo: **2 of 3 failed**"
    assert any("✅ ks" in line and r"fine \| dandy" in line for line in lines)
    assert any("❌ pr" in line for line in lines)
    assert "- a note" in lines


def test_a_summary_is_added_to_what_is_there_in_any_encoding(tmp_path: Path) -> None:
    there = tmp_path / "summary.md"
    there.write_bytes(b"Jos\xe9\n")
    write_report(REPORT, junit=None, markdown=there)
    assert there.read_bytes() == b"Jos\xe9\n" + to_markdown(REPORT).encode()


def test_the_fixture(folder: Path, place: RerunOptions, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        f"""
        from test_rerun import Evaluated

        PLACE = dict(cache_dir={str(place.cache_dir)!r}, timed=False)

        def test_good(skill_check):
            report = skill_check({str(folder)!r}, tasks="ks", load=lambda _: Evaluated(), **PLACE)
            assert report.passed
            assert [finding.name for finding in report.findings] == ["ks", "parameters", "MACs"]

        def test_bad(skill_check):
            skill_check({str(folder)!r}, load=lambda _: Evaluated(deaf=True), **PLACE)
        """
    )
    loaded = pytester.inline_run("-p", "skill_bench.guard.plugin", "-p", "no:cacheprovider", "-p", "no:randomly")
    passed, _, failed = loaded.listoutcomes()
    assert [report.nodeid.split("::")[-1] for report in passed] == ["test_good"]
    assert [report.nodeid.split("::")[-1] for report in failed] == ["test_bad"]
    assert "### fake on demo: **" in str(failed[0].longrepr)


def test_the_fixture_takes_paths_as_text(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def compare(*given: Any, **options: Any) -> CheckReport:
        asked.extend([*given, options["place"], options["tasks"], options["rules"]])
        return replace(REPORT, findings=())

    monkeypatch.setattr(rerun, "compare", compare)
    paths = {"ckpt": "a.pt", "data_root": "corpora", "suite_file": "suite.toml", "cache_dir": "cache"}
    SkillCheck()("guard/skill", **paths, tasks=["ks", "sid"], device="cuda", margin=3)  # type: ignore[arg-type]
    place = RerunOptions(**{name: Path(path) for name, path in paths.items()}, device="cuda")  # type: ignore[arg-type]
    assert asked == [Path("guard/skill"), place, ("ks", "sid"), Rules(margin_points=3)]
