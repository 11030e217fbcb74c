"""What each kind asks for is what is extracted, and what a forecast counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from fake_speech import FakeUpstream, class_data, sequence_data
from kind_data import SETTINGS, run_cell

from skill_bench.corpora.data import Effects, TaskData, Utterance
from skill_bench.evaluation import kinds, probe, solve
from skill_bench.evaluation.solving.requests import Request
from skill_bench.evaluation.task_files import load_task
from skill_bench.features.extract import Features
from skill_bench.records.profile import Band
from skill_bench.tasks import TaskSpec, TrainedSpec

Asked = tuple[list[str], bool, float | None, set[Effects | None]]
BUILD: dict[str, Callable[[Path], TaskData]] = {
    "ks": lambda folder: class_data(folder, task="ks"),
    "sid": lambda folder: class_data(folder, task="sid"),
    "pr": lambda folder: sequence_data(folder, task="pr", n_train=8),
    **{name: build for name, (build, _, _) in SETTINGS.items()},
}
NOTHING = Band(low=0, estimate=0, high=0)
CUT_SECONDS = {"sid": 0.2, "asv": 0.5}
CHANGED = {"ks": Effects(gain_db=-3.0), "asv": Effects(gain_db=-3.0, trim_silence=True), "qbe": Effects(gain_db=-3.0)}


def brief(name: str, protocol: str) -> TaskSpec:
    """Two steps; what is long is cut so that some of the tones are."""
    task = load_task(name).for_suite("demo", protocol=protocol)
    if not isinstance(task, TrainedSpec):
        return task
    settings: dict[str, Any] = {"steps": 2, "evaluate_every_steps": 1, "keep_best_after_steps": False}
    settings |= {"train_max_seconds": CUT_SECONDS.get(name)}
    narrow = SETTINGS[name][2] if name in SETTINGS else {}
    changed = {"protocol": task.protocol.model_copy(update=settings), "head": task.head.model_copy(update=narrow)}
    return task.model_copy(update=changed)


def expected(name: str, protocol: str, data: TaskData) -> list[Asked]:
    """By hand: frames or means of everything, or training's cuts and the rest."""
    pooled, effects = name in ("ks", "sid", "ic"), {CHANGED.get(name) if protocol == "s3prl" else None}
    if name not in CUT_SECONDS:
        return [([u.id for u in data.utterances()], pooled, None, effects)]
    train, longest = [], CUT_SECONDS[name]
    for u in data.folds[0].train:
        several = protocol == "s3prl" and (u.seconds or 0) > longest
        train += [u.id, *(f"{u.id} cut {k}" for k in (1, 2, 3) if several)]
    rest = [u.id for u in (*data.folds[0].dev, *data.folds[0].test)]
    return [(train, pooled, longest, effects), (rest, pooled, None, effects)]


def asked(utterances: Sequence[Utterance], pooled: bool, max_seconds: float | None) -> Asked:
    return [u.id for u in utterances], pooled, max_seconds, {u.effects for u in utterances}


def test_every_kind_is_asked_here() -> None:
    assert {load_task(name).kind for name in BUILD} == set(kinds.names())


@pytest.mark.parametrize("protocol", ["strict", "s3prl"])
@pytest.mark.parametrize("name", list(BUILD))
def test_what_is_requested_is_extracted_and_foretold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, protocol: str
) -> None:
    data, task, upstream = BUILD[name](tmp_path / "audio"), brief(name, protocol), FakeUpstream()
    wanted = expected(name, protocol, data)
    assert [asked(r.utterances, r.pooled, r.max_seconds) for r in solve.requests(task, data)] == wanted

    extracted: list[Asked] = []
    whole = vars(solve)["extract"]

    def extract(source: Any, utterances: Sequence[Utterance], **options: Any) -> Features:
        extracted.append(asked(utterances, options["pooled"], options["max_seconds"]))
        found: Features = whole(source, utterances, **options)
        return found

    monkeypatch.setattr(solve, "extract", extract)
    run_cell(upstream, task, data, seed=0, cache_dir=tmp_path / "cache")
    assert extracted == wanted
    assert sum(upstream.calls) == sum(len(ids) for ids, *_ in wanted), "the upstream hears nothing else"

    foretold: list[Asked] = []

    def count(_: probe.Prober, request: Request) -> Any:
        foretold.append(asked(request.utterances, request.pooled, request.max_seconds))
        return probe._Extraction(audio_seconds=0, seconds=NOTHING, disk_bytes=0, resident_bytes=0)

    monkeypatch.setattr(probe.Prober, "_extraction", count)
    monkeypatch.setattr(probe.Prober, "_training", lambda *_: NOTHING)
    probe.Prober(upstream=upstream, seeds=(0,), cache_dir=tmp_path / "probe").probe(task, data, data)
    assert foretold == wanted


def test_an_utterance_that_is_named_twice_is_asked_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = class_data(tmp_path)
    kind = kinds.load("utterance")
    monkeypatch.setattr(kind, "requests", lambda task, data: [Request(utterances=data.utterances() * 2)])
    (request,) = solve.requests(load_task("ks"), data)
    assert request.utterances == list(data.utterances())
