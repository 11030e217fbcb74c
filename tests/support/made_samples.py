"""Samples and prediction rows drawn from known distributions, for tests of the statistics."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from skill_bench.records.record import Record
from skill_bench.report.statistics.sample import Sample, sample_of

Rows = list[dict[str, Any]]


def label_rows(right: ndarray, *, folds: tuple[int, ...] = ()) -> Rows:
    """Rows of a labelling task in which item i is right or wrong; ``folds`` are their sizes."""
    names = np.repeat([f"f{i}" for i in range(len(folds) or 1)], folds or (len(right),))
    return [
        {
            "id": f"u{i:05d}",
            "fold": str(name),
            "target": "yes",
            "prediction": "yes" if ok else "no",
            "numerator": int(ok),
            "denominator": 1,
        }
        for i, (ok, name) in enumerate(zip(right, names, strict=True))
    ]


def error_rows(errors: ndarray, lengths: ndarray) -> Rows:
    """Rows of a sequence task with so many errors in so many words."""
    return [
        {
            "id": f"u{i:05d}",
            "fold": "all",
            "target": " ".join(["W"] * int(n)),
            "prediction": " ".join(["X"] * int(e) + ["W"] * int(n - e)),
            "numerator": int(e),
            "denominator": int(n),
        }
        for i, (e, n) in enumerate(zip(errors, lengths, strict=True))
    ]


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
