"""Samples and prediction rows drawn from known distributions, for tests of the statistics.

And records whose predictions lost points on purpose, for tests of what finds them.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from skill_bench.metrics.scoring import score, with_counts
from skill_bench.records.record import Record
from skill_bench.report.statistics.sample import Sample, sample_of
from skill_bench.report.table.entry import FoundRecord

Rows = list[dict[str, Any]]


def label_rows(right: ndarray, *, folds: tuple[int, ...] = ()) -> Rows:
    """Rows of a labelling task in which item i is right or wrong; ``folds`` are their sizes."""
    of_folds = np.repeat([f"f{i}" for i in range(len(folds) or 1)], folds or (len(right),))
    return [
        {
            "id": name,
            "fold": fold,
            "target": "yes",
            "prediction": "yes" if ok else "no",
            "numerator": int(ok),
            "denominator": 1,
        }
        for name, ok, fold in zip(_names(len(right)), right.tolist(), of_folds.tolist(), strict=True)
    ]


def error_rows(errors: ndarray, lengths: ndarray) -> Rows:
    """Rows of a sequence task with so many errors in so many words."""
    return [
        row
        | {
            "target": " ".join(["W"] * int(n)),
            "prediction": " ".join(["X"] * int(e) + ["W"] * int(n - e)),
        }
        for row, e, n in zip(counted_rows(errors, lengths), errors, lengths, strict=True)
    ]


def counted_rows(errors: ndarray, lengths: ndarray) -> Rows:
    """The same without the words, which take the time of thousands of simulations that read the counts alone."""
    counts = (column.astype(int).tolist() for column in (errors, lengths))
    return [
        {"id": name, "fold": "all", "target": "", "prediction": "", "numerator": e, "denominator": n}
        for name, e, n in zip(_names(len(errors)), *counts, strict=True)
    ]


@functools.cache
def _names(n: int) -> list[str]:
    return [f"u{i:05d}" for i in range(n)]


def trial_rows(same: ndarray, scores: ndarray, *, per_enrolment: int = 1) -> Rows:
    """Trials of speaker verification."""
    return [
        {
            "id": f"t{i}",
            "fold": "all",
            "enrolment": f"e{i // per_enrolment:05d}",
            "test": f"x{i}",
            "target": "same" if s else "different",
            "score": float(score),
            "numerator": None,
            "denominator": None,
        }
        for i, (s, score) in enumerate(zip(same, scores, strict=True))
    ]


def spoken(rows: Rows, speakers: ndarray) -> Rows:
    """The rows with who speaks in each."""
    return [row | {"speaker": f"s{int(speaker):03d}"} for row, speaker in zip(rows, speakers, strict=True)]


def sample(record: Record, rows: Rows, metric: str | None = None, *, by_speaker: bool = False) -> Sample:
    """The sample of the record's own metric, or another of its metrics."""
    return sample_of(record, rows, metric or record.metric, by_speaker=by_speaker)


def logistic(values: Float[ndarray, "*shape"]) -> Float[ndarray, "*shape"]:
    """Numbers to probabilities."""
    return 1 / (1 + np.exp(-values))  # type: ignore[no-any-return]


def worse(record: Record, rows: Rows, points: float) -> Rows:
    """The rows with so many points lost: right labels made wrong, right words left out."""
    g = np.random.default_rng(0)
    changed = [dict(row) for row in rows]
    to_lose = round(points / 100 * sum(row["denominator"] for row in rows))
    for i in g.permutation(len(rows)):
        row = changed[i]
        if to_lose <= 0:
            break
        if record.metric == "accuracy":
            if row["numerator"]:
                row["prediction"] = "something else"
                to_lose -= 1
        else:
            words = str(row["prediction"]).split()
            row["prediction"] = " ".join(words[:-2])
            to_lose -= with_counts(record.metric, row)["numerator"] - row["numerator"]
    return [with_counts(record.metric, row) for row in changed]


def swapped(record: Record, rows: Rows, share: float, generator: np.random.Generator) -> Rows:
    """The rows of a rerun in which so large a share of labels is right or wrong by chance, and the value stays."""
    changed = [dict(row) for row in rows]
    value = sum(row["numerator"] for row in rows) / len(rows)
    for i in np.flatnonzero(generator.random(len(rows)) < share):
        right = generator.random() < value
        changed[i]["prediction"] = changed[i]["target"] if right else "something else"
    return [with_counts(record.metric, row) for row in changed]


def saved(folder: Path, record: Record, rows: Rows) -> FoundRecord:
    """The record of these rows, in a folder of its own."""
    metrics, _ = score(record.metric, rows, mean_of_folds=record.task_spec.get("aggregate") == "mean_of_folds")
    changed = record.model_copy(update={"metrics": record.metrics | metrics, "folds": {}})
    file = changed.save(folder, predictions=rows)
    return FoundRecord(record=Record.read(file), file=file)
