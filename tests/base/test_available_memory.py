"""What the system says of memory, in files as Linux writes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from skill_bench.features.memory import available_bytes

KIB = 1024


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
