"""Records made up for the report's tests."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from skill_bench.base import catalog, provenance
from skill_bench.evaluation.task_files import load_task
from skill_bench.records.fidelity import R2, Fidelity, FidelitySettings, LayerFidelity, Reading
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


def fidelity(
    student: str,
    value: float,
    corpus: str,
    without: tuple[float, ...] = (0.1, 0.2, 0.3),
    *,
    recipe: Mapping[str, Any] | None = None,
    details: Mapping[str, Any] | None = None,
    identity: str | None = None,
    fingerprint: str | None = None,
    layers: Sequence[float] = (0.0, 0.0),
    mapping: Any = "same",
    at: str = PROVENANCE.started_at,
) -> Fidelity:
    """Of a student ``ROW-sSEED``, as a grid has it written; ``layers``: what each keeps beyond ``value``."""
    row, _, seed = student.rpartition("-s")
    said: dict[str, Any] = {"evidence_row": row, "distillation_seed": int(seed)} if details is None else {**details}
    r2 = R2(value=value, low=value - 0.1, high=value + 0.1)
    each = tuple(
        LayerFidelity(
            teacher_layer=at, student_layer=at if mapping == "same" else 2, plain=r2,
            whitened=R2(value=value + more, low=value + more - 0.1, high=value + more + 0.1), n_directions=1,
            plain_penalties=(1.0,), whitened_penalties=(1.0,), whitened_without=tuple(more + one for one in without),
        )
        for at, more in enumerate(layers)
    )  # fmt: skip
    return Fidelity(
        teacher=System(name="teacher", title="Teacher", identity="t"),
        student=System(
            name=student, title=f"{row.upper()}, seed 1", identity=identity or student, n_parameters=810_000,
            details=said | ({} if recipe is None else {"recipe": json.dumps(recipe)}),
        ),
        corpus=corpus, data_fingerprint=fingerprint or corpus, n_utterances=3, n_speakers=3,
        n_utterances_without_speaker=0, n_utterances_without_frames=0, n_frames=9, audio_seconds=60,
        settings=FidelitySettings(
            n_folds=3, n_groups=len(without), penalties=(1.0,), whitening_threshold=1e-8, max_seconds=30,
            confidence=0.95,
        ),
        readings=(
            Reading(
                mapping=mapping, layers=each, plain=r2, whitened=r2, plain_without=without, whitened_without=without,
            ),
        ),
        provenance=PROVENANCE.model_copy(update={"started_at": at}),
    )  # fmt: skip
