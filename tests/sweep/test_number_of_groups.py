"""How many groups: a student each, the best first, and refusals."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_models import noise
from small_recipes import recipe

from skill_bench.base.errors import UsageError
from skill_bench.corpora.data import Utterance
from skill_bench.models import checkpoint
from skill_bench.models.checkpoint import LoadedModel
from skill_bench.sweep import number_of_groups
from skill_bench.sweep.number_of_groups import try_numbers

SHORT = recipe("skill", joint=4, final=2)


def test_the_number_whose_student_keeps_most_comes_first(
    teacher: LoadedModel, speech: list[Utterance], tmp_path: Path
) -> None:
    other = noise(tmp_path / "other", n=6)
    found = try_numbers(
        teacher, speech, other, recipe=SHORT, numbers=[2, 5, 3], folder=tmp_path / "k", corpus="other", n_folds=3
    )
    kept = [one.fidelity.readings[0].whitened.value for one in found]
    assert kept == sorted(kept, reverse=True)
    assert len({*kept}) == 3
    assert {one.n_groups: len(one.groups) for one in found} == {2: 2, 3: 3, 5: 5}
    for one in found:
        assert (one.fidelity.n_utterances, one.fidelity.corpus) == (6, "other")
        student = checkpoint.load(tmp_path / "k" / f"groups-{one.n_groups}.safetensors")
        assert one.fidelity.student.checkpoint_sha256 == student.sha256
        assert student.metadata["layer_groups"] == str([list(group) for group in one.groups])
        assert f'"n_groups":{one.n_groups}' in student.metadata["recipe"]


@pytest.mark.parametrize(
    ("name", "numbers", "message"),
    [
        ("dphubert", [2], r"recipe dphubert: its groups are given by hand, .* similarity, uniform or random"),
        ("skill", [], r"numbers of groups \[\]: expected one or more"),
        ("skill", [3, 0], r"numbers of groups \[3, 0\]: expected one or more, each at least 1"),
        ("skill", [3], r"1 of 8 held-out utterances are also trained on, first .*7\.wav: a student knows them"),
    ],
)
def test_what_cannot_be_tried_is_refused_before_any_training(
    name: str,
    numbers: list[int],
    message: str,
    teacher: LoadedModel,
    speech: list[Utterance],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(number_of_groups, "distill", None)
    other = [*noise(tmp_path / "other", n=7), speech[7]]
    with pytest.raises(UsageError, match=message):
        try_numbers(teacher, speech, other, recipe=recipe(name), numbers=numbers, folder=tmp_path / "k")
