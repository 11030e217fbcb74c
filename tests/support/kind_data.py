"""Tiny data of tones for every further kind of task, settings that learn it in a second or two, and one cell of it."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from fake_speech import RATE_HZ, TONES_HZ, tone_file, utterance

from skill_bench.corpora.data import Fold, Segment, TaskData, Trial, Utterance
from skill_bench.evaluation.cell_result import CellResult, run_cells
from skill_bench.evaluation.solving.cell import CellUpstream
from skill_bench.evaluation.task_files import load_task
from skill_bench.tasks import TaskSpec, TrainedSpec

Build = Callable[[Path], TaskData]


def _data(task: str, fold: Fold) -> TaskData:
    return TaskData(task=task, suite="demo", synthetic=True, folds=(fold,), fingerprint="f", notes=())


def intents(folder: Path) -> TaskData:
    """Two tones, the first for the action, the second for the object."""
    found = [
        utterance(tone_file(folder / f"{a}{b}{i}.wav", a + b, seed=i), f"{a}|{b}|none", line=i + 2)
        for i in range(6)
        for a in "AB"
        for b in "CD"
    ]
    return _data("ic", Fold(name="all", train=tuple(found[:12]), dev=tuple(found[12:16]), test=tuple(found[16:])))


def slot_texts(folder: Path) -> TaskData:
    """Letters with the last one in a slot."""
    draw, found = random.Random(0), []
    for i in range(40):
        first, last = draw.choice("AB"), draw.choice("CD")
        slot = {"C": "see", "D": "dee"}[last]
        path = tone_file(folder / f"sf{i}.wav", f"{first} {last}", seed=i)
        found.append(utterance(path, f"{first} B-{slot} {last} E-{slot}", line=i + 2))
    return _data("sf", Fold(name="all", train=tuple(found[:28]), dev=tuple(found[28:34]), test=tuple(found[34:])))


def speakers(folder: Path) -> TaskData:
    """A speaker is a pair of tones; test has other pairs than training."""

    def utterances(pairs: list[str], n: int) -> tuple[Utterance, ...]:
        return tuple(
            utterance(tone_file(folder / f"{pair}{i}.wav", pair * 3, seed=i), pair) for pair in pairs for i in range(n)
        )

    dev, test = utterances(["AC", "BD"], 2), utterances(["CD", "AA"], 3)

    def trials(part: tuple[Utterance, ...]) -> tuple[Trial, ...]:
        return tuple(
            Trial(same=a.target == b.target, enrolment=a.id, test=b.id) for i, a in enumerate(part) for b in part[:i]
        )

    fold = Fold(
        name="all", train=utterances(["AB", "BC", "AD", "DD", "BB", "CC"], 4), dev=dev, test=test, trials=trials(test),
        dev_trials=trials(dev),
    )  # fmt: skip
    return _data("asv", fold)


def conversations(folder: Path) -> TaskData:
    """Two tones as two speakers, one after the other with an overlap in the middle."""
    folder.mkdir(parents=True, exist_ok=True)
    found, draw = [], np.random.default_rng(0)
    for i in range(14):
        a_end, b_start = draw.uniform(0.9, 1.4), draw.uniform(0.6, 1.0)
        time = np.arange(2 * RATE_HZ) / RATE_HZ
        first, second = ("A", "C") if i % 2 else ("C", "A")
        wave = 0.2 * np.sin(2 * np.pi * TONES_HZ[first] * time) * (time < a_end)
        wave += 0.2 * np.sin(2 * np.pi * TONES_HZ[second] * time) * (time >= b_start)
        path = folder / f"mix{i}.wav"
        soundfile.write(path, wave + 0.003 * draw.standard_normal(len(wave)), RATE_HZ)
        segments = (
            Segment(speaker=first, start_seconds=0.0, end_seconds=float(a_end)),
            Segment(speaker=second, start_seconds=float(b_start), end_seconds=2.0),
        )
        found.append(replace(utterance(path, "", line=i + 2), segments=segments))
    return _data("sd", Fold(name="all", train=tuple(found[:8]), dev=tuple(found[8:11]), test=tuple(found[11:])))


def documents(folder: Path) -> TaskData:
    """Queries are two tones; a document contains them or not."""

    def queries(pairs: list[str], *, name: str) -> tuple[Utterance, ...]:
        return tuple(utterance(tone_file(folder / f"{name}{pair}.wav", pair, seed=9), "") for pair in pairs)

    dev_queries, test_queries = queries(["AB", "CA"], name="d"), queries(["DB", "AC"], name="t")

    def searched(texts: list[str], asked: tuple[Utterance, ...], *, name: str) -> tuple[Utterance, ...]:
        return tuple(
            utterance(
                tone_file(folder / f"{name}{text}.wav", text, seed=i),
                " ".join(query.id for query in asked if query.id[1:] in text),
                line=i + 2,
            )
            for i, text in enumerate(texts)
        )

    fold = Fold(
        name="all",
        train=(),
        dev=searched(["ABDD", "DDCA", "DDDD", "BBDD"], dev_queries, name="dd"),
        test=searched(["CDBC", "BACB", "BBBB", "CCCC", "BCBC"], test_queries, name="dt"),
        queries=test_queries,
        dev_queries=dev_queries,
    )
    return _data("qbe", fold)


SETTINGS: dict[str, tuple[Build, dict[str, Any], dict[str, Any]]] = {
    "ic": (intents, {"steps": 60, "evaluate_every_steps": 20, "learning_rates": (0.01,)}, {}),
    "sf": (
        slot_texts,
        {"steps": 250, "evaluate_every_steps": 50, "learning_rates": (0.01,), "batch_size": 8},
        {"projection_dim": 32, "hidden_dims": (32,)},
    ),
    "asv": (
        speakers,
        {"steps": 60, "evaluate_every_steps": 10, "learning_rates": (0.003,), "batch_size": 8},
        {"projection_dim": 16, "hidden_dims": (16, 16, 16, 16, 24), "embedding_dim": 16},
    ),
    "sd": (
        conversations,
        {"steps": 60, "evaluate_every_steps": 20, "learning_rates": (0.03,), "batch_size": 4},
        {"hidden_dims": (16,)},
    ),
    "qbe": (documents, {}, {}),
}


def load_trained(name: str) -> TrainedSpec:
    task = load_task(name)
    assert isinstance(task, TrainedSpec)
    return task


def run_cell(
    upstream: CellUpstream, task: TaskSpec, data: TaskData, *, seed: int, cache_dir: Path, **options: Any
) -> CellResult:
    """`run_cells` with one seed."""
    return next(run_cells(upstream, task, data, seeds=(seed,), cache_dir=cache_dir, **options))
