"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def corpora() -> Path:
    """Folder of real speech with manifests; set SKILL_BENCH_CORPORA to run the tests that need it."""
    root = os.environ.get("SKILL_BENCH_CORPORA")
    if not root:
        pytest.skip("SKILL_BENCH_CORPORA is not set")
    path = Path(root)
    assert path.is_dir(), f"SKILL_BENCH_CORPORA={root} is not a folder"
    return path
