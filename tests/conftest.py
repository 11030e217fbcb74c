"""Fixtures that every test may use."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from small_suite import WriteAudio

    from skill_bench.corpora.data import Utterance
    from skill_bench.models.checkpoint import LoadedModel
    from skill_bench.records.profile import Profile
    from skill_bench.records.record import Record
    from skill_bench.report.table.table import Table


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a command ended and what it wrote."""

    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def _the_process_stays_as_it_is() -> Iterator[None]:
    """What a test leaves in the process the next ones would find: threads change the bits of what they train."""
    n_threads, arguments = _n_threads(), [*sys.argv]
    yield
    left = {"threads": (n_threads, _n_threads()), "arguments": (arguments, sys.argv)}
    assert all(before in (None, after) for before, after in left.values()), left


def _n_threads() -> int | None:
    """Of torch; None before something has imported it."""
    torch = sys.modules.get("torch")
    return None if torch is None else int(torch.get_num_threads())


@pytest.fixture(scope="session")
def with_demo(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Path]:
    """Puts the demo suite, synthesised once a run, into a cache folder; returns the folder."""
    from skill_bench.corpora.synthetic.demo import demo_folder

    made = demo_folder(tmp_path_factory.mktemp("demo"))

    def put(cache_dir: Path) -> Path:
        cache_dir.mkdir(parents=True, exist_ok=True)
        (cache_dir / made.name).symlink_to(made)
        return cache_dir

    return put


@pytest.fixture
def among_files_named_as_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, whose code no process may run that a command starts there."""
    here = tmp_path / "here"
    here.mkdir()
    for name in ("cloudpickle", "json", "numpy", "random", "torch"):
        (here / f"{name}.py").write_text("raise SystemExit('code of the current folder was run')")
    monkeypatch.chdir(here)
    return here


# What these need is imported when they are asked for: packages whose shapes are checked are not loaded before pytest is
# configured, and few tests need them.


@pytest.fixture
def speech(tmp_path: Path) -> list[Utterance]:
    """Seconds of noise."""
    from small_models import noise

    return noise(tmp_path)


@pytest.fixture
def write_audio(tmp_path: Path) -> WriteAudio:
    """``write_audio(name, seconds=, rate_hz=, channels=, subtype=)``: noise in a file under tmp_path."""
    from small_suite import audio_writer

    return audio_writer(tmp_path)


@pytest.fixture
def teacher(tmp_path: Path) -> LoadedModel:
    """40 k parameters."""
    from small_models import small_teacher

    from skill_bench.models import checkpoint

    return checkpoint.load(small_teacher(tmp_path / "teacher.safetensors"))


@pytest.fixture(scope="session")
def make_record() -> Callable[..., Record]:
    """A record made up."""
    from made_records import record

    return record


@pytest.fixture(scope="session")
def make_profile() -> Callable[..., Profile]:
    """A profile made up."""
    from made_records import profile

    return profile


@pytest.fixture(scope="session")
def shipped() -> Table:
    """The table of what comes with the package, with all intervals; seconds, so once a run."""
    from skill_bench.report.table.load import load_table

    return load_table()


@pytest.fixture(scope="session")
def shipped_site(shipped: Table, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its page, a file; seconds, so once a run."""
    from skill_bench.report.render.page import write_page

    return write_page(shipped, tmp_path_factory.mktemp("shipped"))


@pytest.fixture(scope="session")
def site_of_500(make_record: Callable[..., Record], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of as many made-up systems; seconds, so once a run."""
    from pages import many

    from skill_bench.report.render.page import write_page

    folder = tmp_path_factory.mktemp("500")
    return write_page(many(make_record, 500, folder), folder)


@pytest.fixture(scope="session")
def corpora() -> Path:
    """Folder of real speech with manifests; set SKILL_BENCH_CORPORA to run the tests that need it."""
    root = os.environ.get("SKILL_BENCH_CORPORA")
    if not root:
        pytest.skip("SKILL_BENCH_CORPORA is not set")
    path = Path(root)
    assert path.is_dir(), f"SKILL_BENCH_CORPORA={root} is not a folder"
    return path


@pytest.fixture
def board(request: pytest.FixtureRequest) -> Any:
    """The package of another board, given by ``@pytest.mark.parametrize("board", ["xares"], indirect=True)``.

    Each has an environment of its own, and must be there.
    """
    if request.param in os.environ.get("SKILL_BENCH_BOARDS", "").split(","):
        return importlib.import_module(request.param)
    return pytest.importorskip(request.param, reason=f"{request.param} is not installed: tox -e {request.param}")


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """``command("run", "--upstream", "skill")``, as a shell starts it, in this process."""
    from skill_bench.cli import main

    def run(*arguments: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["skill-bench", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main.main()
        written = capsys.readouterr()
        return Ended(code=int(ended.value.code or 0), out=written.out, err=written.err)

    return run
