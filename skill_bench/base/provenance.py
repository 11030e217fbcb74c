"""Where a number comes from: code, packages, hardware, command. Cheap, and loads no torch."""

from __future__ import annotations

import datetime
import functools
import os
import platform
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from pydantic import Field

from skill_bench.base.specs import Frozen

_PACKAGE = Path(__file__).resolve().parents[1]
PACKAGES = (
    "torch", "torchaudio", "s3prl", "espnet-s3prl", "transformers", "lightning", "numpy", "scipy", "scikit-learn",
    "pandas", "soundfile", "safetensors", "jiwer", "pydantic", "espeakng-loader", "onnx", "onnxruntime",
)  # fmt: skip
"""Distributions whose version can change a number."""


class Git(Frozen):
    """The checkout that the code ran from; ``dirty`` if tracked files differ from the commit."""

    commit: str
    dirty: bool


class Hardware(Frozen):
    """The machine. ``gpus`` is None where nothing had loaded torch, so that nobody asked; () means none."""

    cpu_model: str | None
    n_cores: int
    n_cores_usable: int
    ram_bytes: int | None
    gpus: tuple[str, ...] | None
    platform: str

    def device_name(self, device: str) -> str:
        """What ``cuda`` or ``cpu`` is here."""
        if device == "cuda" and self.gpus:
            return self.gpus[0]
        return self.cpu_model or "unknown CPU"


class Provenance(Frozen):
    """Everything about a run that is not its result.

    Times are wall-clock seconds a stage, ``forecast_seconds`` what `skill-bench plan run` expected of them.
    """

    skill_bench_version: str
    git: Git | None
    python: str
    packages: dict[str, str]
    hardware: Hardware
    n_threads: int | None
    started_at: str
    seconds: dict[str, float] = Field(default_factory=dict)
    forecast_seconds: dict[str, float] = Field(default_factory=dict)
    command_line: tuple[str, ...]


def now() -> str:
    """The time in UTC, ISO 8601 with seconds: the form of ``started_at``."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def collect(
    *,
    started_at: str | None = None,
    seconds: dict[str, float] | None = None,
    forecast_seconds: dict[str, float] | None = None,
) -> Provenance:
    """The provenance of this process, now. ``seconds`` are the wall-clock seconds of its stages."""
    return Provenance(
        skill_bench_version=_version("skill-bench") or "unknown",
        git=git_state(),
        python=platform.python_version(),
        packages={name: found for name in PACKAGES if (found := _version(name)) is not None},
        hardware=hardware(),
        n_threads=_n_threads(),
        started_at=started_at or now(),
        seconds=seconds or {},
        forecast_seconds=forecast_seconds or {},
        command_line=tuple(_without_folders(argument) for argument in sys.argv),
    )


def git_state(package: Path = _PACKAGE) -> Git | None:
    """Commit and dirtiness of the checkout that ``package`` lies in; None for an installed package or without git."""
    if not (package.parent / ".git").exists():
        return None
    command = ["git", "status", "--porcelain=v2", "--branch", "--untracked-files=no"]
    try:
        done = subprocess.run(command, cwd=package.parent, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    lines = done.stdout.splitlines()
    commits = [line.removeprefix("# branch.oid ") for line in lines if line.startswith("# branch.oid ")]
    return Git(commit=commits[0], dirty=any(not line.startswith("#") for line in lines)) if commits else None


def hardware() -> Hardware:
    """This machine; asks torch for GPUs only if something has loaded torch already."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return Hardware(
        cpu_model=_cpu_model(),
        n_cores=os.cpu_count() or 1,
        n_cores_usable=usable or 1,
        ram_bytes=_ram_bytes(),
        gpus=_gpus(),
        platform=platform.platform(),
    )


@functools.cache
def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _cpu_model() -> str | None:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or None
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or None


def _ram_bytes() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def _gpus() -> tuple[str, ...] | None:
    torch = sys.modules.get("torch")
    if torch is None:
        return None
    return tuple(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count()))


def _n_threads() -> int | None:
    torch = sys.modules.get("torch")
    return None if torch is None else int(torch.get_num_threads())


def _without_folders(argument: str) -> str:
    """Records are published: a command line keeps the last part of an absolute path, not where somebody's files lie."""
    return re.sub(r"(^|=)/.*/", r"\1.../", argument)
