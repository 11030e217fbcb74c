"""Slot filling: which slots are there, and what they hold.

Texts carry slots as ``B-name words E-name``. Formulas of s3prl 0.4.18 ``metric/slot_filling.py`` (``slot_type_f1``,
``slot_value_cer``), which SUPERB reports. Where we differ: s3prl packs slots into one string with ``:`` and ``;`` and
fails on values that contain them; here such values are values. A corpus without any slot value has no error rate.
"""

from __future__ import annotations

import re

from skill_bench.metrics.edits import edits
from skill_bench.metrics.ratio import Ratio, pooled

_SLOT = re.compile(r"B-(\S+) (.+?) E-\1")
_OPENING, _CLOSING = re.compile(r"B-(\S+) "), re.compile(r" E-(\S+)")


def slots(text: str) -> dict[str, list[str]]:
    """Values by slot, in order; an unclosed slot is none."""
    found: dict[str, list[str]] = {}
    for name, value in _SLOT.findall(re.sub(" +", " ", text)):
        found.setdefault(name, []).append(value)
    return found


def slot_type_f1(*, target: str, prediction: str) -> Ratio:
    """F1 of the set of slot names of one utterance, as a fraction of 1.

    SUPERB averages it over utterances; two utterances without slots agree fully.
    """
    wanted, found = set(slots(target)), set(slots(prediction))
    if not wanted and not found:
        return Ratio(numerator=1, denominator=1)
    return Ratio(numerator=2 * len(wanted & found) / (len(wanted) + len(found)), denominator=1)


def slot_value_edits(*, target: str, prediction: str) -> Ratio:
    """Character edits between each slot value of the target and the nearest value found for that slot.

    A value whose slot was not found counts as deleted; slots that were found in excess cost nothing.
    """
    found = {name: [_without_tags(value) for value in values] for name, values in slots(prediction).items()}
    return pooled(
        min((edits(target=value, prediction=other) for other in found.get(name, [""])), key=lambda r: r.numerator)
        for name, values in slots(target).items()
        for value in values
    )


def _without_tags(value: str) -> str:
    """A value with the tags of slots inside it removed."""
    return _CLOSING.sub("", _OPENING.sub("", value))
