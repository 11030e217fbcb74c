"""Fixtures that every test may use."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest


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
