"""What a run was asked for: upstreams, tasks, seeds, and where files are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from skill_bench.base.specs import Precision
from skill_bench.records.record import DEFAULT_PROTOCOL


@dataclass(frozen=True, kw_only=True)
class UpstreamRequest:
    """An upstream's name in ``upstreams/`` (or ``hf:...``), a checkpoint for it, and what it computes in."""

    name: str
    ckpt: Path | None = None
    precision: Precision = "fp32"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to run and where its files are.

    Attributes:
        upstreams: One after the other.
        suite: A name of `skill-bench list`.
        tasks: Names in ``tasks/``.
        seeds: One cell each.
        out_dir: Records, at ``Record.path``.
        cache_dir: Features and synthesised speech.
        cache_limit_bytes: How large its features may grow.
        data_root: Folder of the suite's corpora; the demo suite has none.
        suite_file: Its suite.toml, if it lies elsewhere.
        limit: At most so many utterances in each of train, dev and test.
        device: Where features are extracted and heads are trained.
        batch_seconds: As for `skill_bench.features.extract.extract`.
        protocol: ``strict``, or another that every task describes.
        profile: What an upstream's profile beside its records holds: parameters and multiply-adds, ``counted`` before
            its cells, or throughput and memory as well, ``timed`` after all cells; False for no profile.
    """

    upstreams: Sequence[UpstreamRequest]
    suite: str
    tasks: Sequence[str]
    seeds: Sequence[int]
    out_dir: Path
    cache_dir: Path
    cache_limit_bytes: int | None = None
    data_root: Path | None = None
    suite_file: Path | None = None
    limit: int | None = None
    device: str = "cpu"
    batch_seconds: float | None = None
    protocol: str = DEFAULT_PROTOCOL
    profile: Literal["timed", "counted", False] = "timed"
