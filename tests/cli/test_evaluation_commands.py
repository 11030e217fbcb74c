"""``run``, ``plan run``, ``check``, ``profile``: each option reaches the plan, what cannot be done is said at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from skill_bench.base.errors import UsageError
from skill_bench.evaluation import evaluate as evaluation
from skill_bench.evaluation.plan import Plan, UpstreamRequest
from skill_bench.guard import baseline as written
from skill_bench.guard import rerun
from skill_bench.guard.baseline import Settings
from skill_bench.guard.findings import CheckReport

# An option, another value than its default, the plan's field, and what it becomes there.
OPTIONS: list[tuple[str, str, str, object]] = [
    ("--upstream", "teacher", "upstreams", [UpstreamRequest(name="skill"), UpstreamRequest(name="teacher")]),
    ("--ckpt", "a.pt", "upstreams", [UpstreamRequest(name="skill", ckpt=Path("a.pt"))]),
    ("--suite", "mini", "suite", "mini"),
    ("--tasks", "ks, sid", "tasks", ["ks", "sid"]),
    ("--protocol", "s3prl", "protocol", "s3prl"),
    ("--seeds", "3", "seeds", [0, 1, 2]),
    ("--seeds", "4,2", "seeds", [4, 2]),
    ("--limit", "7", "limit", 7),
    ("--out", "here", "out_dir", Path("here")),
    ("--data-root", "speech", "data_root", Path("speech")),
    ("--suite-file", "s.toml", "suite_file", Path("s.toml")),
    ("--cache-dir", "kept", "cache_dir", Path("kept")),
    ("--cache-limit", "2GB", "cache_limit_bytes", 2 * 10**9),
    ("--device", "cuda:1", "device", "cuda:1"),
    ("--precision", "bf16", "upstreams", [UpstreamRequest(name="skill", precision="bf16")]),
    ("--batch-seconds", "60", "batch_seconds", 60.0),
    ("--no-profile", "", "profile", False),
]


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder with a checkpoint, and Ctrl-C as a terminal sends it: a shell ignores it for what runs in the back."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.pt").touch()
    earlier = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, earlier)


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch) -> list[Plan]:
    """What was to be run; then the user interrupts it."""
    found: list[Plan] = []

    def interrupted(plan: Plan, **_: Any) -> None:
        found.append(plan)
        raise KeyboardInterrupt

    monkeypatch.setattr(evaluation, "evaluate", interrupted)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    return found


@pytest.mark.parametrize(("option", "given", "name", "value"), OPTIONS)
def test_each_option_of_run_alone_changes_its_part_of_the_plan(
    option: str, given: str, name: str, value: object, command: Callable[..., Any], plans: list[Plan]
) -> None:
    plain = ("run", "--upstream", "skill", "--cache-dir", "cache", "--tasks", "er")
    for arguments in (plain, (*plain, option, *([given] if given else []))):
        assert command(*arguments).code == 130
    before, after = ({field.name: getattr(plan, field.name) for field in fields(Plan)} for plan in plans)
    assert after == before | {name: value}
    assert after != before


def test_every_part_of_a_plan_has_an_option() -> None:
    assert {name for _, _, name, _ in OPTIONS} == {field.name for field in fields(Plan)}


def test_an_interrupted_run_says_how_to_go_on(command: Callable[..., Any], plans: list[Plan]) -> None:
    ended = command("run", "--upstream", "skill", "--out", "here")
    said = " ".join(ended.err.split())
    assert said == "interrupted: finished cells are in here; the same command continues with the others"
    assert len(plans[0].tasks) == 10, "all tasks of the suite"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("run --upstream skil", "unknown upstream 'skil'. Did you mean 'skill'?"),
        ("run --upstream skill --tasks kss", "unknown task 'kss'. Did you mean 'ks'?"),
        ("run --upstream skill --suite local", "--suite local needs --data-root DIR"),
        ("run --upstream skill --seeds 0", "--seeds '0': expected how many seeds (3) or which ones (0,1,2)."),
        ("run --upstream skill --seeds 1234567", "--seeds '1234567': expected how many seeds (3) or which ones"),
        ("run --upstream skill --protocol strikt", "Did you mean 'strict'?"),
        ("run --upstream skill -u teacher --ckpt a.pt", "--ckpt belongs to one upstream, found 2: skill, teacher."),
        ("run --upstream skill --cache-limit much", "--cache-limit"),
        ("plan run --upstream skil", "Did you mean 'skill'?"),
        ("profile --upstream skil", "Did you mean 'skill'?"),
        ("check --against gone", "gone holds no baseline.json. Make a baseline from the version you trust:"),
        ("check --against gone --update", "a new baseline needs --upstream NAME."),
        ("run", "Missing option '--upstream'"),
    ],
)
def test_what_cannot_be_evaluated_is_a_usage_error(arguments: str, message: str, command: Callable[..., Any]) -> None:
    ended = command(*arguments.split())
    assert ended.code == 2
    assert message in ended.err
    assert "Traceback" not in ended.err


SETTINGS = Settings(upstream="skill", suite="demo", tasks=("ks", "er"), seeds=(0, 1), limit=30)
CHECKS: list[tuple[str, str, str, object]] = [
    ("--level", "0.01", "level", 0.01),
    ("--margin", "2", "margin_points", 2.0),
    ("--throughput-loss", "0.5", "throughput_loss", 0.5),
    ("--upstream", "teacher", "upstream", "teacher"),
    ("--tasks", "er", "tasks", ("er",)),
    ("--ckpt", "a.pt", "ckpt", Path("a.pt")),
    ("--data-root", "speech", "data_root", Path("speech")),
    ("--suite-file", "s.toml", "suite_file", Path("s.toml")),
    ("--cache-dir", "kept", "cache_dir", Path("kept")),
    ("--no-timed", "", "timed", False),
]
UPDATES: list[tuple[str, str, str, object]] = [
    ("--upstream", "teacher", "upstream", "teacher"),
    ("--suite", "mini", "suite", "mini"),
    ("--tasks", "er", "tasks", ("er",)),
    ("--seeds", "5", "seeds", (0, 1, 2, 3, 4)),
    ("--limit", "9", "limit", 9),
]


@pytest.fixture
def baseline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that seems to hold one."""
    monkeypatch.setattr(written, "read_baseline", lambda folder: SimpleNamespace(settings=SETTINGS))
    (tmp_path / written.FILE).touch()
    return tmp_path


@pytest.mark.parametrize(("option", "given", "name", "value"), CHECKS)
def test_each_option_of_check_alone_reaches_the_rerun(
    option: str,
    given: str,
    name: str,
    value: object,
    baseline: Path,
    command: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[dict[str, object]] = []

    def rerun_of(folder: Path, *, place: Any, rules: Any, progress: Any, **more: Any) -> CheckReport:
        seen.append({"folder": folder, **vars(place), **vars(rules), **more})
        raise UsageError("enough")

    monkeypatch.setattr(rerun, "compare", rerun_of)
    plain = ("check", "--against", baseline, "--cache-dir", "cache")
    for arguments in (plain, (*plain, option, *([given] if given else []))):
        assert command(*arguments).code == 2
    before, after = seen
    assert after == before | {name: value} != before


@pytest.mark.parametrize(("option", "given", "name", "value"), UPDATES)
def test_a_new_baseline_keeps_the_settings_that_are_not_given(
    option: str,
    given: str,
    name: str,
    value: object,
    baseline: Path,
    command: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[Settings] = []

    def update(folder: Path, settings: Settings, *, reason: str, **_: Any) -> Any:
        seen.append(settings)
        return SimpleNamespace(reason=reason)

    monkeypatch.setattr(rerun, "update", update)
    ended = command("check", "--against", baseline, "--update", "--reason", "faster", option, given)
    assert (ended.code, seen) == (0, [SETTINGS.model_copy(update={"seeds": (0, 1, 2), name: value})])
    assert ended.out.endswith(f"in {baseline}: faster\n")


def test_a_baseline_is_checked_on_its_own_suite(baseline: Path, command: Callable[..., Any]) -> None:
    for option in (("--suite", "mini"), ("--limit", "31")):
        ended = command("check", "--against", baseline, *option)
        assert ended.code == 2
        assert "was made on suite 'demo' with limit 30. Leave --suite and --limit out, or make" in ended.err


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
    ids=lambda value: str(value),
)
def test_a_run_that_is_asked_to_end_says_what_stays(
    number: int, code: int, command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.getsignal(number)

    def asked(plan: Plan, **_: Any) -> None:
        os.kill(os.getpid(), number)
        pytest.fail("it goes on")

    monkeypatch.setattr(evaluation, "evaluate", asked)
    ended = command("run", "--upstream", "skill", "--tasks", "er", "--out", "here")
    assert ended.code == code
    said = " ".join(ended.err.split())
    assert said == "interrupted: finished cells are in here; the same command continues with the others"
    assert ended.out == ""
    assert signal.getsignal(number) == before


@pytest.mark.parametrize(
    ("n_new", "usage", "code"),
    [(0, False, 1), (0, True, 2), (1, True, 1), (1, False, 1)],
)
def test_failures_stand_last_and_no_old_table_before_them(
    n_new: int, usage: bool, code: int, command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The table is of what was measured now; what was there before is no news beside a failure."""
    from skill_bench.evaluation import evaluate
    from skill_bench.evaluation.cell_record import FailedCell
    from skill_bench.evaluation.evaluate import Outcome
    from skill_bench.report.render import terminal

    failure = FailedCell(upstream="skill", task=None, seed=None, error="upstream.toml: broken", is_usage=usage)
    outcome = Outcome(records=[None] * n_new, failures=[failure])  # type: ignore[list-item]
    monkeypatch.setattr(evaluate, "evaluate", lambda *_, **__: outcome)
    monkeypatch.setattr(terminal, "show", lambda *_, **__: print("THE TABLE"))
    ended = command("run", "-u", "skill", "--out", tmp_path)
    assert ended.code == code
    assert ("THE TABLE" in ended.out, "finished before" in ended.out) == (n_new > 0, False)
    kept = f"; 1 other is in {tmp_path}" if n_new else ""
    assert ended.err.splitlines()[-2:] == [f"error: 1 cell failed{kept}:", "  skill: upstream.toml: broken"]
