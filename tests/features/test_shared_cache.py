"""Caches that several users share: one that may only be read, and one that its owner keeps closed."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from skill_bench.corpora.synthetic.rendered import rendered_folder

READ = """
import json, os, sys
from pathlib import Path
import torch
from torch import nn
from skill_bench.corpora.data import Utterance
from skill_bench.features.extract import extract
from skill_bench.records.record import System
from skill_bench.upstream.module import ModuleUpstream

class Model(nn.Module):
    def forward(self, wave):
        return [wave.unfold(1, 400, 320)]

wav, cache, user, pooled = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "pooled"
upstream = ModuleUpstream(
    module=Model(), downsample_rate=320, min_samples=400, code="",
    system=System(name="m", title="M", kind="other", identity=""),
)
if user:
    os.setuid(user)
paths = sorted(wav.glob("*.wav"))
utterances = [
    Utterance(id=p.name, path=p, target="", speaker=None, seconds=1.0, source=p.name) for p in paths
]
found = extract(upstream, utterances, pooled=pooled, cache_dir=cache)
values = [float(found[u.id].double().sum()) for u in utterances]
print(json.dumps([found.n_extracted, list(found.notes), values]))
"""


def fill(made: Path) -> None:
    (made / "a.txt").write_text("a")


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder to which every user may come; pytest keeps its own closed."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        yield Path(name)


@pytest.fixture
def waves(shared: Path) -> Path:
    """A folder with two files of noise."""
    folder = shared / "waves"
    folder.mkdir()
    for number, name in enumerate("ab"):
        noise = np.random.default_rng(number).uniform(-0.1, 0.1, 8000)
        soundfile.write(folder / f"{name}.wav", noise, 16_000)
    return folder


def read(wav: Path, cache: Path, *, user: int, pooled: bool) -> tuple[int, list[str], list[float]]:
    """What another process, of another user, finds: utterances that it extracted, notes, sums of features."""
    done = subprocess.run(
        [sys.executable, "-c", READ, str(wav), str(cache), str(user), "pooled" if pooled else "frames"],
        capture_output=True, text=True, check=False, cwd="/",
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "HOME": "/nonexistent"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    n_extracted, notes, values = json.loads(done.stdout.splitlines()[-1])
    return n_extracted, notes, values


@pytest.mark.skipif(os.getuid() != 0, reason="takes root to become another user")
@pytest.mark.parametrize("pooled", [True, False])
def test_a_cache_that_may_only_be_read_is_read(pooled: bool, shared: Path, waves: Path) -> None:
    cache = shared / "cache"
    first = read(waves, cache, user=0, pooled=pooled)
    assert first[:2] == (2, [])
    again = read(waves, cache, user=65534, pooled=pooled)
    assert again == (0, [], first[2])
    # One utterance more, which cannot be kept: it is computed, and that is said.
    soundfile.write(waves / "c.wav", np.full(4000, 0.1), 16_000)
    more = read(waves, cache, user=65534, pooled=pooled)
    assert more[0] == 1
    assert more[2][:2] == first[2]
    assert len(more[1]) == 1
    assert "are not in the cache, which is read-only" in more[1][0]


def test_what_is_made_for_all_may_be_read_by_all(tmp_path: Path) -> None:
    folder = rendered_folder(tmp_path, "speech-1", fill)
    allowed = os.umask(0)
    os.umask(allowed)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o777 & ~allowed


@pytest.mark.skipif(os.getuid() != 0, reason="takes root to become another user")
def test_a_folder_that_another_user_keeps_closed_is_left_alone(shared: Path) -> None:
    folder = rendered_folder(shared, "speech-1", fill)
    folder.chmod(0o700)
    code = (
        "import os, sys; from pathlib import Path\n"
        "from skill_bench.corpora.synthetic.rendered import rendered_folder\n"
        "os.setuid(65534)\n"
        "rendered_folder(Path(sys.argv[1]), 'speech-1', lambda made: None)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(shared)], capture_output=True, text=True, check=False, cwd="/",
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert "may not read it (Permission denied). Ask its owner to open it" in done.stderr
    assert [path.name for path in shared.iterdir()] == ["speech-1"]
