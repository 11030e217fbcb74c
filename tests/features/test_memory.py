"""Recordings that are too long for the memory are named before they are read; others share what there is.

What the system says of memory, in files as Linux writes them.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_speech import FakeUpstream, tone_file, utterance
from small_models import small_teacher

from skill_bench.base.errors import DataError
from skill_bench.corpora.data import Utterance
from skill_bench.features import memory, on_cpu
from skill_bench.features.extract import extract
from skill_bench.features.memory import at_once, available_bytes
from skill_bench.models.checkpoint import load
from skill_bench.models.size import utterance_bytes
from skill_bench.records.record import System
from skill_bench.upstream.encoder import EncoderUpstream

KIB = 1024


class Needy(FakeUpstream):
    """Takes a byte for each sample."""

    runs_concurrently = True

    def utterance_bytes(self, n_samples: int) -> int | None:
        return n_samples


@pytest.fixture
def available(monkeypatch: pytest.MonkeyPatch) -> list[int | None]:
    """What there is, to be set."""
    found: list[int | None] = [None]
    monkeypatch.setattr(memory, "available_bytes", lambda: found[0])
    return found


@pytest.fixture
def utterances(tmp_path: Path) -> list[Utterance]:
    texts = ("A", "ABCDABCD", "AB")
    return [utterance(tone_file(tmp_path / "audio" / f"u{i}.wav", t), t, line=i) for i, t in enumerate(texts)]


def samples(one: Utterance) -> int:
    return round((one.seconds or 0) * 16000)


def test_a_recording_that_does_not_fit_is_named_before_anything_is_extracted(
    utterances: list[Utterance], available: list[int | None], tmp_path: Path
) -> None:
    upstream, longest = Needy(), utterances[1]
    available[0] = samples(longest) - 1
    with pytest.raises(DataError) as refused:
        extract(upstream, utterances, pooled=False, cache_dir=tmp_path)
    needed, there = samples(longest) / 1e9, (samples(longest) - 1) / 1e9
    assert str(refused.value) == (
        f"utterance 'u1' ({longest.path}, {longest.source}): its {longest.seconds:.0f} s at once need {needed:.3g} GB "
        f"of memory in upstream 'fake', and {there:.3g} GB are available. Cut the recording into shorter ones, leave "
        "it out of the manifest, or take a machine with more memory."
    )
    assert upstream.calls == []


def test_what_fits_is_extracted(utterances: list[Utterance], available: list[int | None], tmp_path: Path) -> None:
    available[0] = samples(utterances[1])
    assert len(extract(Needy(), utterances, pooled=False, cache_dir=tmp_path)) == 3


def test_what_is_kept_already_or_cut_or_not_known_needs_nothing(
    utterances: list[Utterance], available: list[int | None], tmp_path: Path
) -> None:
    extract(Needy(), utterances, pooled=False, cache_dir=tmp_path / "kept")
    available[0] = 0
    assert extract(Needy(), utterances, pooled=False, cache_dir=tmp_path / "kept").n_extracted == 0
    assert extract(FakeUpstream(), utterances, pooled=False, cache_dir=tmp_path / "unknown").n_extracted == 3
    available[0] = 1600
    assert extract(Needy(), utterances, pooled=False, cache_dir=tmp_path / "cut", max_seconds=0.1).n_extracted == 3


@pytest.mark.parametrize(("there", "n"), [(None, 4), (0, 1), (1, 1), (2, 2), (3, 3), (9, 4)])
def test_batches_share_the_memory(
    there: int | None, n: int, utterances: list[Utterance], available: list[int | None]
) -> None:
    """In multiples of what the longest needs."""
    longest = samples(utterances[1])
    available[0] = None if there is None else there * longest
    found = at_once([utterances[:1], utterances[1:]], 4, estimate=Needy().utterance_bytes, max_samples=None)
    assert found == n
    if there == 3:
        half = at_once([utterances[1:]], 16, estimate=Needy().utterance_bytes, max_samples=longest // 2)
        assert half == 6
    assert at_once([utterances], 4, estimate=lambda n_samples: None, max_samples=None) == 4


def test_as_many_threads_as_fit(
    utterances: list[Utterance], available: list[int | None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    pool = vars(on_cpu)["ThreadPoolExecutor"]

    def counted(n_threads: int) -> object:
        asked.append(n_threads)
        return pool(n_threads)

    monkeypatch.setattr(on_cpu, "ThreadPoolExecutor", counted)
    available[0] = 2 * samples(utterances[1])
    extract(Needy(), utterances, pooled=False, cache_dir=tmp_path, n_threads=5)
    assert asked == [2]


def test_an_encoder_says_what_it_takes_on_a_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load(small_teacher(tmp_path / "teacher.safetensors"))
    upstream = EncoderUpstream(loaded=loaded, system=System(name="t", title="T", identity=""))
    assert upstream.utterance_bytes(160_000) == utterance_bytes(loaded.encoder.architecture, 160_000)
    monkeypatch.setattr(EncoderUpstream, "runs_concurrently", False)  # as on a GPU
    assert upstream.utterance_bytes(160_000) is None


@pytest.fixture
def system(tmp_path: Path) -> tuple[Path, Path]:
    """/proc and /sys/fs/cgroup of a process in /job/step."""
    proc, cgroups = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    (cgroups / "job" / "step").mkdir(parents=True)
    (proc / "meminfo").write_text(
        "MemTotal:       8000000 kB\nMemAvailable:   5000000 kB\nHugePages_Total:       0\nSwapFree:        700000 kB\n"
    )
    (proc / "self" / "cgroup").write_text("4:memory:/old\n0::/job/step\n")
    return proc, cgroups


def limit(folder: Path, maximum: object, current: int, file: int) -> None:
    (folder / "memory.max").write_text(f"{maximum}\n")
    (folder / "memory.current").write_text(f"{current}\n")
    (folder / "memory.stat").write_text(f"anon 5\nfile {file}\nactive_file 9\n")


def test_without_limits_it_is_what_the_system_has(system: tuple[Path, Path]) -> None:
    assert available_bytes(*system) == 5_700_000 * KIB


def test_a_limit_counts_without_what_makes_room(system: tuple[Path, Path]) -> None:
    limit(system[1] / "job" / "step", 1000, 900, 300)
    assert available_bytes(*system) == 400


def test_the_limit_of_a_group_above_holds_too(system: tuple[Path, Path]) -> None:
    limit(system[1] / "job" / "step", "max", 900, 300)
    assert available_bytes(*system) == 5_700_000 * KIB
    limit(system[1] / "job", 2000, 2500, 100)
    assert available_bytes(*system) == 0
    limit(system[1] / "job", 10**12, 2500, 100)
    assert available_bytes(*system) == 5_700_000 * KIB, "less is there than is allowed"


def test_groups_of_the_first_version(system: tuple[Path, Path]) -> None:
    proc, cgroups = system
    (proc / "self" / "cgroup").write_text("5:cpu,memory:/job/step\n1:name=systemd:/job\n0::/\n")
    (cgroups / "memory" / "job").mkdir(parents=True)
    files = {"limit_in_bytes": 1000, "usage_in_bytes": 950, "stat": "cache 7\ntotal_cache 30"}
    for name, value in files.items():
        (cgroups / "memory" / "job" / f"memory.{name}").write_text(f"{value}\n")
    assert available_bytes(*system) == 80
    (cgroups / "memory" / "job" / "memory.limit_in_bytes").write_text("9223372036854771712\n")
    assert available_bytes(*system) == 5_700_000 * KIB, "as it says that there is none"


def test_who_says_nothing_is_not_guessed(tmp_path: Path) -> None:
    assert available_bytes(tmp_path, tmp_path) is None
    (tmp_path / "meminfo").write_text("MemTotal: 8 kB\n")
    assert available_bytes(tmp_path, tmp_path) is None


def test_this_system_says_something_that_can_be() -> None:
    found = available_bytes()
    assert found is None or 10**6 < found < 10**15
