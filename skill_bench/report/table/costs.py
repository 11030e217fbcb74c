"""What a system costs, from its profile, its records or a published row."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from skill_bench.records.profile import Profile
from skill_bench.records.record import System
from skill_bench.report.table.table import Costs


def measured_costs(profiles: Sequence[tuple[str, Profile]], origin: str, system: System) -> Costs:
    """From the newest profile of exactly this model and origin; without one, what the record itself says."""
    fitting = [
        p for o, p in profiles if (o, p.system.name, p.system.identity) == (origin, system.name, system.identity)
    ]
    profile = max(fitting, key=lambda p: p.provenance.started_at, default=None)
    n_parameters = system.n_parameters
    found: dict[str, Any] = {
        "compression_hours": _hours(system, "compression_hours"),
        "compression_speech_hours": _hours(system, "training_hours") if system.teacher else None,
        "compressed_on": None if (device := system.details.get("compressed_on")) is None else str(device),
    }
    if profile is not None:
        n_parameters = profile.parameters.total if profile.parameters is not None else n_parameters
        found |= _profiled(profile)
    return Costs(parameters_millions=None if n_parameters is None else n_parameters / 1e6, **found)


def published_costs(values: Mapping[str, float | None]) -> Costs:
    """What the row of a published table says."""
    return Costs(parameters_millions=values.get("parameters_millions"), macs_superb_giga=values.get("macs_superb_giga"))


def _profiled(profile: Profile) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if profile.macs is not None:
        found |= {"macs_giga": profile.macs.total / 1e9, "macs_superb_giga": profile.macs.superb / 1e9}
    if profile.throughput is not None:
        found["throughput_audio_seconds_per_second"] = profile.throughput.median
        device = profile.provenance.hardware.device_name(profile.throughput.device)
        found["measured_on"] = f"{device}, {profile.throughput.n_threads} threads, {profile.throughput.dtype}"
    if profile.memory is not None:
        found["peak_memory_mebibytes"] = (profile.memory.peak_bytes + profile.memory.weight_bytes) / 2**20
    return found


def _hours(system: System, name: str) -> float | None:
    """A number of the checkpoint's own description, whose values are text; None if it is no finite number."""
    try:
        hours = float(str(system.details[name]))
    except (KeyError, ValueError):
        return None
    return hours if math.isfinite(hours) else None
