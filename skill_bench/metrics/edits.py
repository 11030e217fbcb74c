"""Edit-distance rates over a corpus: all edits of all reference tokens, never a mean of rates.

Same formula as s3prl's ``downstream/ctc/metric.py`` (``per``, ``wer``, ``cer``) and ``downstream/asr/expert.py``
(``wer``, ``uer``), with these differences: tokens are split at any run of blanks, and an empty text has no token
(s3prl's ``split(' ')`` counts one empty word); s3prl's ASR texts end in a separator that its ``uer`` counts, ours do
not.
"""

from __future__ import annotations

from collections.abc import Sequence

from rapidfuzz.distance import Levenshtein

from skill_bench.metrics.ratio import Ratio


def edits(*, target: Sequence[str], prediction: Sequence[str]) -> Ratio:
    """Substitutions, deletions and insertions of one utterance, of its target's tokens."""
    return Ratio(numerator=Levenshtein.distance(target, prediction), denominator=len(target))


def word_error_rate(*, targets: Sequence[str], predictions: Sequence[str]) -> Ratio:
    """Word edits of reference words; the phone error rate when the words are phones.

    Raises:
        ValueError: the sequences differ in length.
    """
    return _corpus([t.split() for t in targets], [p.split() for p in predictions])


def character_error_rate(*, targets: Sequence[str], predictions: Sequence[str]) -> Ratio:
    """Character edits of reference characters, blanks included.

    Raises:
        ValueError: the sequences differ in length.
    """
    return _corpus(targets, predictions)


def _corpus(targets: Sequence[Sequence[str]], predictions: Sequence[Sequence[str]]) -> Ratio:
    total = Ratio(numerator=0, denominator=0)
    for target, prediction in zip(targets, predictions, strict=True):
        total += edits(target=target, prediction=prediction)
    return total
