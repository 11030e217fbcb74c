"""What a run will take, upstream by upstream: the document beside its records, which tell what came true."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from skill_bench.base.documents import Document
from skill_bench.base.provenance import Provenance
from skill_bench.base.specs import Frozen
from skill_bench.evaluation.plan import Plan
from skill_bench.records.profile import Band
from skill_bench.records.record import safe_name, upstream_folder

NOTHING = Band(low=0.0, estimate=0.0, high=0.0)


class TaskForecast(Frozen):
    """One task with all seeds. ``training_seconds`` include dev and test; least is a stop as early as patience allows,
    most a grid of learning rates that is extended as far as the protocol lets it.

    Attributes:
        missing_audio_seconds: What has to be extracted; what an earlier task of the run extracts is not counted again.
        features_seconds: Of what the probe has left of it.
        disk_bytes: That it adds to the cache.
        resident_bytes: Features that training keeps in memory.
        recomputed_audio_seconds: Whose frames neither the cache's limit nor the disk has place for, as often as they
            are used.
        recomputed_seconds: What computing them again takes, if nothing of it happens beside training.
    """

    task: str
    missing_audio_seconds: float
    features_seconds: Band
    training_seconds: Band
    disk_bytes: int
    resident_bytes: int
    recomputed_audio_seconds: float = 0.0
    recomputed_seconds: Band = NOTHING


class Forecast(Document):
    """One upstream on one suite. Beside its records it tells them what was expected. ``limit``: as the plan's."""

    kind: Literal["forecast"] = "forecast"
    upstream: str
    identity: str
    suite: str
    protocol: str
    seeds: tuple[int, ...]
    limit: int | None = None
    tasks: tuple[TaskForecast, ...]
    peak_memory_bytes: Band
    provenance: Provenance

    @property
    def seconds(self) -> Band:
        """Everything together."""
        total = NOTHING
        for task in self.tasks:
            total = total.plus(task.features_seconds).plus(task.training_seconds).plus(task.recomputed_seconds)
        return total

    def path(self, out_dir: Path) -> Path:
        """Its place beside the upstream's records; each protocol has its own."""
        return forecast_path(out_dir, self.suite, self.upstream, self.protocol)

    def of_task(self, task: str) -> dict[str, float]:
        """Expected seconds of one cell, in the stages of `Provenance.seconds`."""
        for found in self.tasks:
            if found.task == task:
                n = len(self.seeds)
                return {
                    "features": found.features_seconds.estimate / n,
                    "training and test": found.training_seconds.plus(found.recomputed_seconds).estimate / n,
                }
        return {}


def forecast_of(plan: Plan, *, upstream: str, identity: str) -> Forecast | None:
    """What was said of this model in such a run, if `skill-bench plan run` was asked.

    Raises:
        RecordError: the document is damaged.
    """
    path = forecast_path(plan.out_dir, plan.suite, upstream, plan.protocol)
    found = Forecast.read(path) if path.exists() else None
    return found if found is not None and (found.identity, found.limit) == (identity, plan.limit) else None


def forecast_path(out_dir: Path, suite: str, upstream: str, protocol: str) -> Path:
    """Where the forecast of a run is."""
    return upstream_folder(out_dir, suite, upstream) / "forecast" / f"{safe_name(protocol)}.json"
