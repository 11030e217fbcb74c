"""The cache's key: what decides the features of an utterance, each alone, and nothing else.

The code's part in the cache key: other features from the same weights need another CODE_VERSION.

Caches that several users share: one that may only be read, and one that its owner keeps closed.
"""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from fake_speech import FakeUpstream, tone_file, utterance
from golden_features import GOLDEN, compute, upstreams

from skill_bench.corpora.audio.audio import load_audio
from skill_bench.corpora.data import Conditions, Effects, Segment, Utterance
from skill_bench.corpora.synthetic.rendered import rendered_folder
from skill_bench.features.extract import extract
from skill_bench.features.policy import Policy, entry_keys
from skill_bench.upstream.interface import CODE_VERSION

CONDITIONS = Conditions(gain_db=-20, low_hz=100, high_hz=4000, snr_db=10, noise_tilt=0.5, seed=1)
MEANS, CUT = Policy(pooled=True), Policy(pooled=True, max_samples=3200)
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


@dataclass(frozen=True, kw_only=True)
class Changed:
    """Another value of a field, and whether features of the whole utterance, and of a piece of it, are others then."""

    value: object
    whole: bool
    cut: bool


FIELDS = {
    "id": Changed(value="another", whole=False, cut=True),
    "path": Changed(value="of other speech", whole=True, cut=True),
    "target": Changed(value="B", whole=False, cut=False),
    "speaker": Changed(value="Bea", whole=False, cut=False),
    "seconds": Changed(value=9.0, whole=False, cut=False),
    "source": Changed(value="manifest.tsv:9", whole=False, cut=False),
    "start_frame": Changed(value=100, whole=True, cut=True),
    "n_frames": Changed(value=6000, whole=True, cut=True),
    "segments": Changed(value=(Segment(speaker="b", start_seconds=0, end_seconds=1),), whole=False, cut=False),
    "conditions": Changed(value=CONDITIONS, whole=True, cut=True),
    "effects": Changed(value=Effects(gain_db=-6.0), whole=True, cut=True),
}


@pytest.fixture
def spoken(tmp_path: Path) -> Utterance:
    """One whose every field has a value."""
    return replace(
        utterance(tone_file(tmp_path / "u.wav", "ABCD"), "A"),
        speaker="Ann", start_frame=0, n_frames=7000, segments=(Segment(speaker="a", start_seconds=0, end_seconds=1),),
    )  # fmt: skip


@pytest.fixture
def key(tmp_path: Path) -> Callable[[Utterance, Policy], str]:
    return lambda item, policy: entry_keys([item], policy, cache_dir=tmp_path / "cache")[item.id]


def test_every_field_of_an_utterance_is_decided_on() -> None:
    assert set(FIELDS) == {field.name for field in fields(Utterance)}


@pytest.mark.parametrize("name", [field.name for field in fields(Utterance)])
def test_each_field_alone_changes_the_key_or_does_not(
    name: str, spoken: Utterance, key: Callable[[Utterance, Policy], str], tmp_path: Path
) -> None:
    change = FIELDS[name]
    value = tone_file(tmp_path / "other.wav", "DCBA") if name == "path" else change.value
    assert value != getattr(spoken, name)
    other = replace(spoken, **{name: value})  # type: ignore[arg-type]
    assert (key(other, MEANS) != key(spoken, MEANS)) == change.whole
    assert (key(other, CUT) != key(spoken, CUT)) == change.cut


@pytest.mark.parametrize(
    ("name", "start", "change"),
    [
        *(("conditions", CONDITIONS, {field.name: 0.25}) for field in fields(Conditions)),
        ("effects", Effects(), {"gain_db": 3.0}),
        ("effects", Effects(), {"trim_silence": True}),
    ],
)
def test_each_number_of_conditions_and_effects_alone_changes_the_key(
    name: str,
    start: Conditions | Effects,
    change: dict[str, object],
    spoken: Utterance,
    key: Callable[[Utterance, Policy], str],
) -> None:
    before, after = (replace(spoken, **{name: one}) for one in (start, replace(start, **change)))  # type: ignore[arg-type]
    assert key(before, MEANS) != key(after, MEANS)


def test_every_effect_is_tried_above() -> None:
    assert {field.name for field in fields(Effects)} == {"gain_db", "trim_silence"}


def test_the_length_of_a_cut_alone_changes_where_features_are_kept() -> None:
    policies = [Policy(pooled=pooled, max_samples=most) for pooled in (True, False) for most in (None, 3200, 6400)]
    assert len({policy.name for policy in policies}) == 6


def test_features_under_effects_are_not_those_without(spoken: Utterance, tmp_path: Path) -> None:
    """A loud protocol after a plain one, as a run with ``--protocol s3prl`` finds the cache."""
    louder = replace(spoken, effects=Effects(gain_db=6.0))
    plain = extract(FakeUpstream(), [spoken], pooled=True, cache_dir=tmp_path)[spoken.id]
    found = extract(FakeUpstream(), [louder], pooled=True, cache_dir=tmp_path)
    assert found.n_extracted == 1
    assert (found[louder.id] - plain).abs().max() > 0.1


def test_features_of_this_code_version_are_these(tmp_path: Path) -> None:
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert golden["code_version"] == CODE_VERSION, "run tests/support/golden_features.py"
    found = compute(tmp_path)
    assert set(found) == set(golden["means"])
    for name, means in found.items():
        for mine, theirs in zip(means, golden["means"][name], strict=True):
            difference = (torch.tensor(mine) - torch.tensor(theirs)).abs().max()
            # Summation order differs between machines and kernels by about 1e-6; a change of the computation does more.
            assert difference < 1e-4 * torch.tensor(theirs).abs().max(), (
                f"{name}: the same weights give other features. If that is meant, raise CODE_VERSION in "
                "skill_bench/upstream/interface.py, so that no cache mixes them, and run "
                "tests/support/golden_features.py"
            )


@pytest.mark.parametrize("name", sorted(upstreams()))
def test_cached_equals_uncached(name: str, tmp_path: Path) -> None:
    upstream = upstreams()[name]
    texts = ["A", "ABCD", "AB", "BBBBBB", "CD"]
    items = [utterance(tone_file(tmp_path / f"u{i}.wav", t, seed=i), t, line=i) for i, t in enumerate(texts)]
    extract(upstream, items, pooled=True, cache_dir=tmp_path)
    extract(upstream, items, pooled=False, cache_dir=tmp_path)
    means = extract(upstream, items, pooled=True, cache_dir=tmp_path)
    frames = extract(upstream, items, pooled=False, cache_dir=tmp_path)
    assert (means.n_extracted, frames.n_extracted) == (0, 0)
    for item in items:
        states = upstream.hidden_states([load_audio(item.path, source="").waveform])[0]
        size = float(states.abs().max())
        # Alone or in a batch, a float32 sum over some thousand terms rounds differently.
        torch.testing.assert_close(means[item.id], states.mean(dim=1), rtol=1e-5, atol=1e-5 * size)
        torch.testing.assert_close(frames[item.id].float(), states, rtol=2**-10, atol=1e-5 * size)


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
