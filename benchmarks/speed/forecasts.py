"""What ``skill-bench plan run`` expects of a run, and what the run then takes."""

from __future__ import annotations

import tempfile
from pathlib import Path

from skill_bench.base.progress import Progress
from skill_bench.evaluation.evaluate import evaluate, forecast
from skill_bench.evaluation.plan import Plan, UpstreamRequest
from speed.figures import Forecasts, ForecastTask


def forecast_and_run(
    *,
    cache_dir: Path,
    progress: Progress,
    data_root: Path | None = None,
    upstream: str = "skill",
    tasks: tuple[str, ...] = ("ks", "sid", "er"),
    limit: int | None = None,
) -> Forecasts:
    """Forecasts a run with an empty cache of features, carries it out, and reads both from its records.

    Args:
        cache_dir: Where synthesised speech is kept; it is made before the forecast.
        data_root: Folder of the ``local`` suite; the ``demo`` suite without it.
        limit: At most so many utterances in each part.
    """
    suite = "demo" if data_root is None else "local"
    with tempfile.TemporaryDirectory(prefix="skill-bench-forecasts-") as name:
        folder = Path(name)
        (folder / "cache").mkdir()
        for kept in cache_dir.glob("*") if cache_dir.exists() else ():
            if kept.name != "features":  # speech and hashes of files, not what is to be timed
                (folder / "cache" / kept.name).symlink_to(kept.resolve())
        plan = Plan(
            upstreams=[UpstreamRequest(name=upstream)],
            suite=suite,
            tasks=tasks,
            seeds=[0],
            out_dir=folder / "records",
            cache_dir=folder / "cache",
            data_root=data_root,
            limit=limit,
        )
        forecast(plan, progress=progress)
        records = evaluate(plan, progress=progress).records
    return Forecasts(
        name="Forecast and truth",
        what=(
            f"skill-bench plan run, then skill-bench run, of upstream {upstream} on the {suite} suite with one seed "
            "and no features in the cache; both times stand in every record."
        ),
        tasks=tuple(
            ForecastTask(
                task=record.key.task,
                expected_seconds=sum(record.provenance.forecast_seconds.values()),
                seconds=sum(record.provenance.seconds.values()),
            )
            for record in records
        ),
    )
