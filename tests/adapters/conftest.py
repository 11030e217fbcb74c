"""Boards that are installed in environments of their own (tox -e xares, tox -e mteb): there they must be."""

from __future__ import annotations

import importlib
import os
from typing import Any

import pytest


@pytest.fixture
def board(request: pytest.FixtureRequest) -> Any:
    """The package that the test names, by ``@pytest.mark.parametrize("board", ["xares"], indirect=True)``."""
    if request.param in os.environ.get("SKILL_BENCH_BOARDS", "").split(","):
        return importlib.import_module(request.param)
    return pytest.importorskip(
        request.param, reason=f"{request.param} has an environment of its own: tox -e {request.param}"
    )
