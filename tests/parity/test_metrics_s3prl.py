"""The same predictions through s3prl's metric code and ours give the same number."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from pyannote.core import Annotation, Segment, Timeline
from pyannote.metrics.diarization import DiarizationErrorRate

import skill_bench.s3prl  # noqa: F401  s3prl's modules import only after this
from skill_bench.metrics.diarization import diarization_errors, segment_errors, segments_of
from skill_bench.metrics.edits import character_error_rate, word_error_rate
from skill_bench.metrics.ratio import accuracy, pooled
from skill_bench.metrics.scoring import score
from skill_bench.metrics.slots import slot_type_f1, slot_value_edits
from skill_bench.metrics.verification import equal_error_rate

# Both sides add the same float64 terms; sums of a few hundred of them agree to rounding.
RTOL = 1e-9


def _tagged(draw: random.Random, *, spoiled: bool) -> str:
    """A text with slots, some repeated, some nested or unclosed when it is ``spoiled``, with runs of blanks."""
    words = ["PLAY", "THE", "BEATLES", "IN", "PARIS", "AT", "TEN", "O'CLOCK"]
    parts = [draw.choice(words)]
    for _ in range(draw.randint(0, 4)):
        name = draw.choice(["artist", "city", "city_name", "time"])
        value = " ".join(draw.choice(words) for _ in range(draw.randint(1, 3)))
        if spoiled and draw.random() < 0.2:
            value = f"B-time {value} E-time" if draw.random() < 0.5 else f"{value}  X"
        closing = "" if spoiled and draw.random() < 0.2 else f" E-{name}"
        parts += [f"B-{name} {value}{closing}", draw.choice(words)]
    return " ".join(parts)


def _pairs(n: int, seed: int) -> tuple[list[str], list[str]]:
    draw = random.Random(seed)
    targets = [_tagged(draw, spoiled=False) for _ in range(n)]
    predictions = [t if draw.random() < 0.3 else _tagged(draw, spoiled=True) for t in targets]
    predictions[::17] = [""] * len(predictions[::17])
    return targets, predictions


@pytest.mark.parametrize("seed", range(5))
def test_slot_metrics(seed: int) -> None:
    from s3prl.downstream.ctc import metric as downstream
    from s3prl.metric import slot_filling

    targets, predictions = _pairs(200, seed)
    shares = [slot_type_f1(target=t, prediction=p) for t, p in zip(targets, predictions, strict=True)]
    edits = pooled(slot_value_edits(target=t, prediction=p) for t, p in zip(targets, predictions, strict=True))
    f1 = slot_filling.slot_type_f1(predictions, targets)
    cer = slot_filling.slot_value_cer(predictions, targets)
    assert 0.2 < f1 < 0.9
    assert 0.1 < cer < 0.9
    assert pooled(shares).percent == pytest.approx(100 * f1, rel=RTOL)
    assert edits.percent == pytest.approx(100 * cer, rel=RTOL)
    assert downstream.slot_value_cer(predictions, targets) == cer
    assert downstream.slot_type_f1(predictions, targets) == f1


@pytest.mark.parametrize(
    ("target", "prediction"),
    [
        ("", ""),
        ("A", ""),
        ("", "B-city PARIS E-city"),
        ("B-city PARIS E-city", ""),
        ("B-city PARIS E-city", "B-city PARIS"),
        ("B-city PARIS E-city", "B-city  E-city"),
        ("B-city PARIS E-city_name", "B-city PARIS E-city"),
        ("B-city PARIS E-city B-city ROME E-city", "B-city ROME E-city B-city PARIS E-city B-city X E-city"),
        ("B-city PARIS E-city", "B-city B-time PARIS E-time E-city"),
        ("B-city NEW  YORK E-city", "B-city NEW YORK E-city"),
        ("B-time TEN O'CLOCK, SHARP! E-time", "B-time TEN OCLOCK SHARP E-time"),
    ],
)
def test_slot_metrics_of_hard_cases(target: str, prediction: str) -> None:
    from s3prl.metric import slot_filling

    assert slot_type_f1(target=target, prediction=prediction).numerator == slot_filling.slot_type_f1(
        [prediction], [target]
    )
    # Beside a pair with a value, so that s3prl divides by something.
    beside = "B-x A E-x"
    edits = pooled(slot_value_edits(target=t, prediction=p) for t, p in [(target, prediction), (beside, beside)])
    expected = slot_filling.slot_value_cer([prediction, beside], [target, beside])
    assert edits.percent == pytest.approx(100 * expected, rel=RTOL)


@pytest.mark.parametrize(
    ("targets", "predictions"),
    [
        (["A B C"], [""]),
        (["A"], ["A A A A"]),
        (["A B", "C"], ["B A", "C"]),
        (["A, B."], ["A B"]),
        (["ÄÖ ß"], ["AO SS"]),
    ],
)
def test_error_rates_of_hard_cases(targets: list[str], predictions: list[str]) -> None:
    from s3prl.metric import common

    for name, ours in (("wer", word_error_rate), ("per", word_error_rate), ("cer", character_error_rate)):
        expected = getattr(common, name)(predictions, targets)
        assert ours(targets=targets, predictions=predictions).percent == pytest.approx(100 * expected, rel=RTOL)


def test_an_empty_reference_is_where_we_differ() -> None:
    """s3prl splits "" into one empty word, which an insertion replaces; ours counts the insertion and no word."""
    from s3prl.metric import common

    targets, predictions = ["A B C", ""], ["A B C", "X Y"]
    assert common.wer(predictions, targets) == 2 / 4
    ours = word_error_rate(targets=targets, predictions=predictions)
    assert (ours.numerator, ours.denominator) == (2, 3)


def test_accuracy() -> None:
    from s3prl.metric import common

    draw = random.Random(0)
    targets = [draw.choice("abc") for _ in range(300)]
    predictions = [draw.choice("abc") for _ in range(300)]
    expected = common.accuracy(targets, predictions)
    assert accuracy(targets=targets, predictions=predictions).percent == pytest.approx(100 * expected, rel=RTOL)


def _trials(seed: int) -> tuple[list[bool], list[float]]:
    draw = np.random.default_rng(seed)
    same = draw.random(400) < [0.5, 0.02, 0.98][seed % 3]
    same[:2] = [True, False]
    scores = draw.normal(size=400) + same
    # Ties: coarse scores in two of three draws.
    return same.tolist(), np.round(scores, [9, 1, 0][seed % 3]).tolist()


@pytest.mark.parametrize("seed", range(9))
def test_equal_error_rate(seed: int) -> None:
    from s3prl.downstream.sv_voxceleb1.utils import EER
    from s3prl.metric import common

    same, scores = _trials(seed)
    found = equal_error_rate(same=same, scores=scores)
    for expected, _ in (EER(same, scores), common.compute_eer(same, scores)):
        # brentq stops within 2e-12 of the root.
        assert found == pytest.approx(100 * float(expected), abs=1e-8)


def _activity(seed: int, n_frames: int, *, share: float) -> np.ndarray:
    """Two speakers in runs of random lengths, overlapping."""
    draw = np.random.default_rng(seed)
    active = np.zeros((n_frames, 2), dtype=bool)
    for speaker in range(2):
        for _ in range(4):
            start = int(draw.integers(n_frames))
            active[start : start + int(draw.integers(1, max(2, round(share * n_frames)))), speaker] = True
    return active


@pytest.mark.parametrize("seed", range(8))
def test_diarization_counts(seed: int) -> None:
    """s3prl counts under a given order of speakers; of both orders, ours is the better one."""
    from s3prl.downstream.diarization.utils import calc_diarization_error

    reference, found = _activity(seed, 90, share=0.4), _activity(seed + 100, 90, share=0.3)
    ours = diarization_errors(reference=reference, found=found)
    totals = []
    for order in ([0, 1], [1, 0]):
        logits = torch.from_numpy(np.where(found, 1.0, -1.0))[None]
        label = torch.from_numpy(reference[:, order].astype(np.float32))[None]
        *_, scored, missed, alarmed, confused = calc_diarization_error(logits, label, torch.tensor([90]))
        assert (scored, missed, alarmed) == (ours.speech, ours.missed, ours.false_alarm)
        totals.append(missed + alarmed + confused)
    assert ours.rate.numerator == min(totals)
    assert totals[0] != totals[1]


def _annotation(active: np.ndarray) -> Annotation:
    annotation = Annotation()
    for number, (speaker, start, end) in enumerate(segments_of(active)):
        annotation[Segment(start, end), number] = str(speaker)
    return annotation


@pytest.mark.parametrize("seed", range(6))
def test_a_reference_in_continuous_time_is_scored_as_pyannote_does(seed: int) -> None:
    """Boundaries at hundredths of a frame, as RTTM files have them, against whole frames."""
    draw = np.random.default_rng(seed)
    starts = draw.integers(0, 5000, size=6) / 100
    reference = [
        (i % 2, float(start), float(start + length))
        for i, (start, length) in enumerate(zip(starts, draw.integers(20, 900, size=6) / 100, strict=True))
    ]
    found = segments_of(_activity(seed, 60, share=0.3))
    sides = []
    for segments in (reference, found):
        annotation = Annotation()
        for number, (speaker, start, end) in enumerate(segments):
            annotation[Segment(start, end), number] = str(speaker)
        # A speaker who overlaps himself speaks once.
        sides.append(annotation.support())
    whole = Timeline([Segment(0, 80)])
    detail = DiarizationErrorRate(collar=0, skip_overlap=False)(sides[0], sides[1], uem=whole, detailed=True)
    errors = segment_errors(reference=reference, found=found)
    # pyannote rounds times to a millionth.
    for ours, theirs in (
        (errors.missed, "missed detection"),
        (errors.false_alarm, "false alarm"),
        (errors.confused, "confusion"),
        (errors.speech, "total"),
    ):
        assert ours == pytest.approx(detail[theirs], abs=1e-4), theirs


@pytest.mark.parametrize("n_found", [1, 2, 3])
def test_diarization_rate_is_pyannotes(n_found: int) -> None:
    """A frame a second, so that both sides count the same time; numbers of speakers differ."""
    draw = np.random.default_rng(n_found)
    rows, totals = [], np.zeros(2)
    for number in range(5):
        reference = _activity(number, 60, share=0.4)
        found = np.hstack([_activity(number + 50, 60, share=0.4), draw.random((60, 1)) < 0.2])[:, :n_found]
        detail = DiarizationErrorRate(collar=0, skip_overlap=False)(
            _annotation(reference), _annotation(found), uem=Timeline([Segment(0, 60)]), detailed=True
        )
        errors = diarization_errors(reference=reference, found=found)
        assert errors.missed == pytest.approx(detail["missed detection"])
        assert errors.false_alarm == pytest.approx(detail["false alarm"])
        assert errors.confused == pytest.approx(detail["confusion"])
        totals += [detail["missed detection"] + detail["false alarm"] + detail["confusion"], detail["total"]]
        rows.append(
            {
                "id": str(number),
                "fold": "f",
                "n_frames": 60,
                "frame_seconds": 1.0,
                "target": segments_of(reference),
                "prediction": segments_of(found),
            }
        )
    assert score("der", rows)[0]["der"].value == pytest.approx(100 * totals[0] / totals[1])
