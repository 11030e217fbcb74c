"""Which layers belong together, and who is tested with whom."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from skill_bench.base.documents import JsonObject
from skill_bench.base.errors import DataError, UsageError
from skill_bench.corpora.data import Utterance
from skill_bench.fidelity.mapping import mappings
from skill_bench.fidelity.speakers import divide
from skill_bench.records.record import System


def student(groups: object = None, stood: object = None) -> System:
    said: JsonObject = {
        "layer_groups": json.dumps(groups),
        "recipe": json.dumps({"groups": {"student_layers": stood}}),
    }
    return System(name="s", title="S", identity="s", details=said if groups else {})


def test_layers_of_equal_depth_belong_together() -> None:
    assert mappings(student([[0], [3]], [[0], [3]]), n_student=4, n_teacher=4) == {"same": (0, 1, 2, 3)}


def test_a_shallow_student_is_read_as_it_was_taught() -> None:
    # Layers between two taught ones go with the nearer, in the middle with the deeper.
    found = mappings(student([[1], [5, 6]], [[0, 1], [2]]), n_student=3, n_teacher=9)
    assert found == {"recipe": (1, 1, 1, 2, 2, 2, 2, 2, 2)}


@pytest.mark.parametrize(
    "system",
    [
        student(),
        student([[4]], None),
        student([[4], [8]], [[2]]),
        student([[13]], [[2]]),
        student([[4]], [[3]]),
        student("x", [[2]]),
    ],
)
def test_one_that_does_not_say_is_read_by_depth_and_from_its_end(system: System) -> None:
    found = mappings(system, n_student=3, n_teacher=13)
    assert list(found) == ["proportional", "last"]
    assert found["proportional"] == (0, 0, 0, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2)
    assert found["last"] == (2,) * 13


def test_a_deeper_student_is_read_by_depth() -> None:
    assert mappings(student(), n_student=7, n_teacher=4)["proportional"] == (0, 2, 4, 6)
    assert mappings(student(), n_student=3, n_teacher=1)["proportional"] == (0,)


def spoken(speaker: str | None, number: int, seconds: float) -> Utterance:
    name = f"{speaker}-{number}"
    return Utterance(id=name, path=Path(name), target="", speaker=speaker, seconds=seconds, source=name)


def test_speakers_stay_together_and_groups_are_balanced() -> None:
    utterances = [spoken(f"{at}", n, 1.0 + at % 7) for at in range(63) for n in range(3)]
    found = divide(utterances, n_folds=5, n_groups=20)
    groups = {u.speaker: {found.group_of[v.id] for v in utterances if v.speaker == u.speaker} for u in utterances}
    assert all(len(own) == 1 for own in groups.values())
    assert set(found.group_of.values()) == set(range(20)) == set(range(len(found.fold_of)))
    seconds = [0.0] * 5
    for utterance in utterances:
        seconds[found.fold_of[found.group_of[utterance.id]]] += utterance.seconds or 0
    assert max(seconds) < 1.1 * min(seconds)
    assert (found.n_speakers, found.n_unknown) == (63, 0)


def test_the_division_does_not_depend_on_the_order() -> None:
    utterances = [spoken(f"{at}", n, 2.0) for at in range(30) for n in range(2)]
    shuffled = random.Random(0).sample(utterances, len(utterances))
    assert divide(utterances, n_folds=3, n_groups=7) == divide(shuffled, n_folds=3, n_groups=7)


def test_a_file_without_a_speaker_is_its_own() -> None:
    utterances = [spoken(None, n, 2.0) for n in range(4)] + [spoken("a", 0, 2.0), spoken("a", 1, 2.0)]
    found = divide(utterances, n_folds=5, n_groups=20)
    assert (found.n_speakers, found.n_unknown) == (5, 4)
    assert sorted(found.fold_of) == [0, 1, 2, 3, 4]


def test_what_cannot_be_divided_is_explained() -> None:
    utterances = [spoken("a", n, 2.0) for n in range(9)] + [spoken("b", 0, 2.0)]
    with pytest.raises(DataError, match=r"2 speakers for 3 folds: expected at least one speaker a fold"):
        divide(utterances, n_folds=3, n_groups=20)
    for n_folds, n_groups in ((2, 20), (5, 4)):
        with pytest.raises(UsageError, match=f"{n_folds} folds of {n_groups} groups of speakers: expected at least 3"):
            divide(utterances, n_folds=n_folds, n_groups=n_groups)
