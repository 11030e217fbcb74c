"""Fixtures: seconds of noise and a teacher of 40 k parameters."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_models import noise, small_teacher

from skill_bench.corpora.data import Utterance
from skill_bench.models import checkpoint
from skill_bench.models.checkpoint import LoadedModel


@pytest.fixture
def speech(tmp_path: Path) -> list[Utterance]:
    return noise(tmp_path)


@pytest.fixture
def teacher(tmp_path: Path) -> LoadedModel:
    return checkpoint.load(small_teacher(tmp_path / "teacher.safetensors"))
