"""The cache itself: shared by processes, bounded in size, whole or absent."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from fake_speech import FakeUpstream, tone_file, utterance
from typer.testing import CliRunner

from skill_bench.base.errors import SkillBenchError
from skill_bench.cli.machine import caches as app
from skill_bench.corpora.data import Conditions, Utterance
from skill_bench.features import stored
from skill_bench.features.cache import FeatureCache, KeptFeatures
from skill_bench.features.extract import extract
from skill_bench.features.policy import Policy, entry_keys
from skill_bench.features.shard import DamagedShard, read_index


@pytest.fixture
def utterances(tmp_path: Path) -> list[Utterance]:
    texts = ["A", "ABCD", "AB", "BBBBBB", "CD", "DA"]
    return [utterance(tone_file(tmp_path / "audio" / f"u{i}.wav", t), t, line=i) for i, t in enumerate(texts)]


def entry(value: float = 1.0) -> KeptFeatures:
    return KeptFeatures(features=torch.full((2, 3), value), original_rate_hz=16000, original_channels=1)


def make(root: Path, identity: str, *, n: int = 100) -> None:
    cache = FeatureCache(root=root, identity=identity, policy="p", upstream=identity)
    cache.write({"ab": KeptFeatures(features=torch.ones(n), original_rate_hz=16000, original_channels=1)})


def test_a_cache_that_cannot_be_written_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "features").write_text("a file where a folder should be")
    with pytest.raises(SkillBenchError, match=r"features cannot be stored .*another cache folder"):
        FeatureCache(root=tmp_path / "features", identity="x", policy="p")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    cache = FeatureCache(root=tmp_path / "other", identity="x", policy="p")
    monkeypatch.setattr("skill_bench.base.documents.os.replace", full)
    with pytest.raises(SkillBenchError, match=r"cannot be stored \(No space left on device\)"):
        cache.write({"ab": entry()})


def test_nothing_half_written_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = FeatureCache(root=tmp_path, identity="x", policy="p")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("skill_bench.base.documents.os.replace", killed)
    with pytest.raises(KeyboardInterrupt):
        cache.write({"ab": entry()})
    assert cache.read("ab") is None
    assert {p.name for p in tmp_path.rglob("*") if p.is_file()} == {"in_use", "about.json"}


def test_numbers_lie_in_the_file_and_not_in_memory(tmp_path: Path) -> None:
    cache = FeatureCache(root=tmp_path, identity="x", policy="p")
    cache.write({"ab": entry(), "cd": entry(2.0)})
    first, second = cache.read("ab"), cache.read("cd")
    assert first is not None
    assert second is not None
    start, other = cache.place("ab"), cache.place("cd")
    assert second.features.data_ptr() - first.features.data_ptr() == other.offset - start.offset, "one mapped file"
    first.features.fill_(9.0)  # what a reader does to its view never reaches the file
    again = FeatureCache(root=tmp_path, identity="x", policy="p").read("ab")
    assert again is not None
    assert torch.equal(again.features, torch.ones(2, 3))


def test_few_shards_stay_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skill_bench.features.cache._MAPPED_BYTES", 1500)
    cache = FeatureCache(root=tmp_path, identity="x", policy="p")
    for i in range(8):
        cache.write(
            {f"k{i}": KeptFeatures(features=torch.full((100,), float(i)), original_rate_hz=1, original_channels=1)}
        )
    read = [cache.read(f"k{i}") for i in range(8)]
    assert [float(found.features[0]) for found in read if found] == list(range(8)), "views outlive the mapping's turn"
    assert 1 <= len(cache._mapped) <= 3


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: raw[:-1],
        lambda raw: raw + b"\0",
        lambda raw: b"\xff" * 8 + raw[8:],
        lambda raw: raw.replace(b'"F32"', b'"F99"'),
        lambda raw: raw.replace(b"[0,24]", b"[4,24]"),
        lambda raw: raw[:20],
        lambda raw: b"",
    ],
)
def test_a_damaged_header_is_found_when_it_is_read(tmp_path: Path, damage: object) -> None:
    FeatureCache(root=tmp_path, identity="x", policy="p").write({"ab": entry()})
    [path] = tmp_path.rglob("*.safetensors")
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    with pytest.raises(DamagedShard, match=path.name):
        read_index(path)
    assert "ab" not in FeatureCache(root=tmp_path, identity="x", policy="p")
    assert not path.exists()


def test_a_swapped_key_is_damage(tmp_path: Path) -> None:
    cache = FeatureCache(root=tmp_path, identity="x", policy="p")
    cache.write({"ab": entry(1.0), "cd": entry(2.0)})
    [path] = tmp_path.rglob("*.safetensors")
    raw = path.read_bytes()
    path.write_bytes(raw.replace(b"ab", b"##").replace(b"cd", b"ab").replace(b"##", b"cd"))
    assert FeatureCache(root=tmp_path, identity="x", policy="p").read("ab") is None


def test_imitated_conditions_and_cuts_have_keys_of_their_own(utterances: list[Utterance], tmp_path: Path) -> None:
    conditions = Conditions(gain_db=-20, low_hz=100, high_hz=4000, snr_db=10, noise_tilt=0.5, seed=1)
    item = utterances[0]

    def key(utterance: Utterance, **policy: int) -> str:
        return entry_keys([utterance], Policy(pooled=True, **policy), cache_dir=tmp_path)[utterance.id]

    keys = {
        key(item),
        key(replace(item, conditions=conditions)),
        key(replace(item, conditions=replace(conditions, seed=2))),
        key(replace(item, start_frame=0, n_frames=1000)),
        key(item, max_samples=100),
        key(replace(item, id="other"), max_samples=100),
    }
    assert len(keys) == 6
    assert key(replace(item, id="other")) == key(item)


_WORKER = """
import sys, time
from pathlib import Path
from fake_speech import FakeUpstream, utterance
from skill_bench.features import extraction
from skill_bench.features.extract import extract

class Slow(FakeUpstream):
    def hidden_states(self, waves):
        time.sleep(0.15)
        return super().hidden_states(waves)

extraction.SHARD_SECONDS_OF_FRAMES = 0.1
folder = Path(sys.argv[1])
items = [utterance(path, "A") for path in sorted((folder / "audio").iterdir())]
(folder / f"ready{sys.argv[2]}").touch()
while not (folder / "go").exists():
    time.sleep(0.01)
found = extract(Slow(), items, pooled=False, cache_dir=folder, batch_seconds=0.1)
sums = [round(float(found[item.id].float().sum()), 2) for item in items]
print(found.n_extracted, *sums)
"""


def test_two_processes_share_the_work(utterances: list[Utterance], tmp_path: Path) -> None:
    command = [sys.executable, "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{_WORKER}", str(tmp_path)]
    workers = [subprocess.Popen([*command, str(i)], stdout=subprocess.PIPE, text=True) for i in range(2)]
    deadline = time.monotonic() + 60
    while len(list(tmp_path.glob("ready*"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    (tmp_path / "go").touch()
    said = [worker.communicate(timeout=60)[0].split() for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0]
    extracted = [int(words[0]) for words in said]
    assert sum(extracted) == len(utterances), "nobody repeats the other's work"
    assert min(extracted) >= 1
    assert said[0][1:] == said[1][1:]
    assert list(tmp_path.rglob("*.claim")) == []
    alone = extract(FakeUpstream(), utterances, pooled=False, cache_dir=tmp_path)
    assert alone.n_extracted == 0


def test_work_of_a_killed_process_is_taken_over(tmp_path: Path, utterances: list[Utterance]) -> None:
    cache = FeatureCache(root=tmp_path / "features", identity="fake-1", policy=Policy(pooled=True).name)
    (cache.folder / "0123.claim").touch()  # left behind: nobody holds its lock
    with cache.claim("0123") as mine:
        assert mine
        with FeatureCache(root=tmp_path / "features", identity="fake-1", policy=cache.folder.name).claim("0123") as his:
            assert not his


def test_frames_beyond_the_limit_are_computed_again(utterances: list[Utterance], tmp_path: Path) -> None:
    whole = extract(FakeUpstream(), utterances, pooled=False, cache_dir=tmp_path / "whole")
    upstream = FakeUpstream()
    found = extract(upstream, utterances, pooled=False, cache_dir=tmp_path / "small", cache_limit_bytes=100)
    assert found.frame_counts == whole.frame_counts
    assert stored.total_bytes(tmp_path / "small" / "features") == 0
    [note] = found.notes
    assert note.startswith("6 utterances (")
    assert note.endswith("do not fit the cache limit: their frames are computed again at every use")
    upstream.calls.clear()
    ids = [u.id for u in utterances]
    for mine, theirs in zip(found.fetch(ids), whole.fetch(ids), strict=True):
        assert torch.equal(mine, theirs)
    assert upstream.calls == [6], "one large batch"


def test_means_beyond_the_limit_stay_in_memory(utterances: list[Utterance], tmp_path: Path) -> None:
    upstream = FakeUpstream()
    found = extract(upstream, utterances, pooled=True, cache_dir=tmp_path, cache_limit_bytes=100)
    upstream.calls.clear()
    whole = extract(FakeUpstream(), utterances, pooled=True, cache_dir=tmp_path / "whole")
    assert all(torch.equal(found[u.id], whole[u.id]) for u in utterances)
    assert upstream.calls == []
    assert "stay in memory" in found.notes[0]


def test_part_of_the_frames_fits(utterances: list[Utterance], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skill_bench.features.extraction.SHARD_SECONDS_OF_FRAMES", 0.1)
    whole = extract(FakeUpstream(), utterances, pooled=False, cache_dir=tmp_path / "whole", batch_seconds=0.1)
    limit = stored.total_bytes(tmp_path / "whole" / "features") // 2
    upstream = FakeUpstream()
    found = extract(upstream, utterances, pooled=False, cache_dir=tmp_path, cache_limit_bytes=limit, batch_seconds=0.1)
    assert 0 < stored.total_bytes(tmp_path / "features") <= limit
    assert all(torch.equal(found[u.id], whole[u.id]) for u in utterances)
    n_stored = sum(len(read_index(path)) for path in (tmp_path / "features").rglob("*.safetensors"))
    assert found.notes[0].startswith(f"{len(utterances) - n_stored} utterances")


def test_a_limit_makes_room_by_age_and_spares_what_is_in_use(tmp_path: Path) -> None:
    for age, identity in enumerate(("new", "old", "older")):
        make(tmp_path, identity)
        folder = next(cache.folder for cache in stored.caches(tmp_path) if cache.upstream == identity)
        import os

        os.utime(folder / "in_use", (time.time() - 1000 * (age + 1),) * 2)
    one = stored.caches(tmp_path)[0].n_bytes
    assert [cache.upstream for cache in stored.caches(tmp_path)] == ["new", "old", "older"]
    assert not stored.make_room(tmp_path, n_bytes=4 * one, limit_bytes=3 * one)
    assert len(stored.caches(tmp_path)) == 3, "what cannot fit deletes nothing"
    assert stored.make_room(tmp_path, n_bytes=one, limit_bytes=3 * one)
    assert [cache.upstream for cache in stored.caches(tmp_path)] == ["new", "old"]
    user = FeatureCache(root=tmp_path, identity="old", policy="p")
    assert stored.make_room(tmp_path, n_bytes=one, limit_bytes=2 * one)
    assert [cache.upstream for cache in stored.caches(tmp_path)] == ["old"]
    assert not stored.make_room(tmp_path, n_bytes=one, limit_bytes=one)
    assert user.read("ab") is not None


def test_command_lists_verifies_and_prunes(tmp_path: Path) -> None:
    make(tmp_path / "features", "one")
    make(tmp_path / "features", "two", n=200)
    run = CliRunner().invoke
    place = ["--cache-dir", str(tmp_path)]
    listed = run(app, ["list", *place])
    assert listed.exit_code == 0
    assert [line.split()[4] for line in listed.stdout.splitlines()[:2]] in (["one", "two"], ["two", "one"])
    assert "in 2 caches" in listed.stdout
    assert "intact" in run(app, ["verify", *place]).stdout

    shard = max((tmp_path / "features").rglob("*.safetensors"), key=lambda path: path.stat().st_size)
    shard.write_bytes(shard.read_bytes()[:-1] + b"!")
    failed = run(app, ["verify", *place])
    assert isinstance(failed.exception, SkillBenchError)
    assert "1 shard was damaged and has been removed" in str(failed.exception)
    assert shard.name in str(failed.exception)
    assert not shard.exists()

    unknown = run(app, ["prune", *place, "--upstream", "three"])
    assert "no features of upstream 'three'" in str(unknown.exception)
    assert "say what to remove" in str(run(app, ["prune", *place]).exception)
    assert "expected a size such as 20GB" in str(run(app, ["prune", *place, "--to", "much"]).exception)
    assert run(app, ["prune", *place, "--upstream", "two"]).exit_code == 0
    assert run(app, ["prune", *place, "--to", "1 GB"]).stdout.startswith("    0.000 GB removed")
    user = FeatureCache(root=tmp_path / "features", identity="one", policy="p")
    assert "in use, kept: one" in run(app, ["prune", *place, "--all"]).stdout
    del user
    assert run(app, ["prune", *place, "--all"]).exit_code == 0
    assert list((tmp_path / "features").iterdir()) == []


def test_a_full_disk_keeps_features_out_of_the_cache(
    utterances: list[Utterance], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored, "SPARE_BYTES", 2**80)
    found = extract(FakeUpstream(), utterances, pooled=False, cache_dir=tmp_path)
    assert found.are_recomputed
    assert not list((tmp_path / "features").rglob("*.safetensors"))
    (note,) = found.notes
    assert note.endswith("do not fit the disk: their frames are computed again at every use")
    expected = extract(FakeUpstream(), utterances, pooled=True, cache_dir=tmp_path)
    assert not expected.are_recomputed, "means stay in memory"
    torch.testing.assert_close(found["u0"].float().mean(dim=1), expected["u0"], rtol=1e-2, atol=1e-2)
