"""Records made up for the report's tests."""

from __future__ import annotations

from typing import Any

from skill_bench.base import catalog, provenance
from skill_bench.evaluation.task_files import load_task
from skill_bench.records.profile import Macs, Memory, Parameters, Profile, Throughput
from skill_bench.records.record import Data, Failure, Key, Metric, Record, System

PROVENANCE = provenance.collect()


def record(
    upstream: str = "skill",
    task: str = "ks",
    numerator: float | None = 80,
    *,
    seed: int = 0,
    suite: str = "demo",
    protocol: str = "strict",
    version: int | None = None,
    fingerprint: str = "f" * 64,
    identity: str | None = None,
    synthetic: bool = False,
    **changes: Any,
) -> Record:
    if version is None:
        version = load_task(task).version if task in catalog.names("tasks") else 1
    metric = "accuracy" if task in ("ks", "er", "sid") else "per"
    found = {metric: Metric.percent(numerator, 100, higher_is_better=metric == "accuracy")} if numerator else {}
    return Record(
        **{
            "status": "finished" if found else "failed",
            "error": None if found else Failure(type="AudioError", message="a.wav: empty"),
            "key": Key(suite=suite, protocol=protocol, task=task, task_version=version, upstream=upstream, seed=seed),
            "system": System(name=upstream, title=upstream.title(), identity=identity or upstream, n_parameters=1500),
            "metric": metric,
            "metrics": found,
            "data": Data(suite=suite, synthetic=synthetic, fingerprint=fingerprint, n_train=1, n_dev=1, n_test=100),
            "provenance": PROVENANCE,
        }
        | changes
    )


def profile(upstream: str = "skill", identity: str | None = None) -> Profile:
    return Profile(
        system=System(name=upstream, title=upstream.title(), identity=identity or upstream),
        parameters=Parameters(total=2_500_000, trainable=0, buffers=0, n_bytes=10**7, by_component={}),
        macs=Macs(
            total=3 * 10**9,
            superb=4 * 10**9,
            buckets=(3 * 10**9,),
            superb_buckets=(4 * 10**9,),
            by_operation={"matmul": 3 * 10**9},
            lengths_samples=(16000,) * 8,
        ),
        throughput=Throughput(
            median=50.0,
            minimum=40.0,
            maximum=60.0,
            batch_seconds=(0.2,),
            n_warmup=1,
            batch_size=1,
            utterance_seconds=10.0,
            dtype="float32",
            device="cpu",
            n_threads=2,
        ),
        memory=Memory(
            peak_bytes=2**20,
            weight_bytes=2**20,
            batch_size=1,
            utterance_seconds=10.0,
            dtype="float32",
            device="cpu",
            method="test",
        ),
        provenance=PROVENANCE,
    )
