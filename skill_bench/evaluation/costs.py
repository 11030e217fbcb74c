"""What an upstream costs, measured once a model and kept beside its records."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import cast

import torch

from skill_bench.base.errors import RecordError
from skill_bench.base.locks import claim
from skill_bench.base.progress import Progress
from skill_bench.evaluation.cell_record import EvaluatedUpstream
from skill_bench.measure.profile import profile
from skill_bench.records.profile import Profile, find_profile
from skill_bench.records.record import System, upstream_folder


def ensure_profile(
    upstream: EvaluatedUpstream,
    *,
    load: Callable[[], EvaluatedUpstream],
    out_dir: Path,
    suite: str,
    timed: bool,
    called: str,
    progress: Progress,
) -> None:
    """Measures the upstream unless a profile of the same model is there. What is no torch module has none.

    What was measured beside the records of another suite is written down beside these too.

    Args:
        upstream: Where it is to be measured.
        load: Loads it afresh.
        out_dir: Of the records.
        suite: Of the records.
        timed: Throughput, memory and cold start too, which no other work should disturb.
        called: What progress calls the upstream.
        progress: Receives one stage.

    Raises:
        RecordError: the profile that is there cannot be trusted.
    """
    if not isinstance(upstream, torch.nn.Module):
        return
    system = upstream.system()
    if find_profile(out_dir, suite, system, timed=timed) is not None:
        return
    what = "parameters, MACs, throughput, memory" if timed else "parameters, MACs"
    with claim(upstream_folder(out_dir, suite, system.name) / "profile.claim", wait=True):
        if find_profile(out_dir, suite, system, timed=timed) is not None:
            return  # another process has measured it meanwhile
        with progress.stage(f"{called}: {what}", total=1) as advance:
            measured = _beside_another_suite(out_dir, system, timed=timed)
            if measured is None:
                module = cast("Callable[[], torch.nn.Module]", load)
                measured = profile(upstream, system=system, load=module, timed=timed)
            measured.write(measured.path(out_dir, suite))
            advance(1)


def _beside_another_suite(out_dir: Path, system: System, *, timed: bool) -> Profile | None:
    for suite in sorted(path.name for path in out_dir.iterdir() if path.is_dir()):
        with suppress(RecordError):  # a run of that suite says so
            if (found := find_profile(out_dir, suite, system, timed=timed)) is not None:
                return found
    return None
